"use strict";
// Everything that comes from the proxy becomes text of a node, never markup: scopes are named by clients.
(() => {
  const MOST_ROWS = 1000, MOST_HISTORY = 200, MOST_A_FRAME = 40, SILENCE_MS = 8000, AGAIN_MS = 3000;
  const asked = new URLSearchParams(location.search);
  const measures = asked.has("measure");
  const $ = (id) => document.getElementById(id);
  const sources = new Map();
  let heard = 0, isDirty = true, lastTick = 0;

  const newSource = (name) => ({name, tables: {}, history: [], proxy: {}, topology: {}, now: 0, at: 0, hidden: 0, cost: 0, watching: 0, down: null});
  const sourceOf = (name) => {
    if (!sources.has(name)) { sources.set(name, newSource(name)); fillSources(); }
    return sources.get(name);
  };

  // ---- what comes ----
  function take(event, isWhole) {
    let data;
    try { data = JSON.parse(event.data); } catch { return; }
    heard = performance.now();
    const source = sourceOf(data.source || "");
    if (isWhole) { source.tables = {}; source.history = []; }
    source.down = data.down || null;
    if (data.now_ms !== undefined) { source.now = data.now_ms; source.at = heard; }
    for (const name of ["proxy", "topology"]) if (data[name]) source[name] = data[name];
    for (const name of ["hidden", "watching"]) if (data[name] !== undefined) source[name] = data[name];
    if (data.cost_ms !== undefined) source.cost = data.cost_ms;
    for (const [name, change] of Object.entries(data.tables || {})) {
      const table = source.tables[name] || (source.tables[name] = new Map());
      for (const id of change.gone || []) table.delete(id);
      for (const row of change.set || []) { row.isNew = !isWhole; table.set(row.id, row); }
    }
    for (const entry of data.history || []) source.history.push(entry);
    if (source.history.length > MOST_HISTORY) source.history.splice(0, source.history.length - MOST_HISTORY);
    if (isWhole) fillSources();
    link("live", "live");
    isDirty = true;
  }

  function connect() {
    const watch = asked.get("watch");
    const stream = new EventSource(watch === null ? "events" : "events?watch=" + encodeURIComponent(watch));
    stream.addEventListener("snapshot", (event) => take(event, true));
    stream.addEventListener("change", (event) => take(event, false));
    stream.addEventListener("busy", () => link("wait", "a worker is busy"));
    stream.onerror = () => {
      link("lost", "no connection");
      // A browser does not come again after an answer that is no stream.
      if (stream.readyState === EventSource.CLOSED) {
        link("lost", "refused, too many may be watching");
        setTimeout(connect, AGAIN_MS);
      }
    };
  }

  function link(kind, text) {
    const node = $("link");
    if (node.className !== kind) node.className = kind;
    if (node.textContent !== text) node.textContent = text;
  }

  // ---- words ----
  const nowOf = (source) => source.now + (performance.now() - source.at);
  function span(ms) {
    const secs = Math.max(0, ms) / 1000;
    if (secs < 120) return Math.round(secs) + " s";
    if (secs < 7200) return Math.round(secs / 60) + " min";
    return secs < 172800 ? Math.round(secs / 3600) + " h" : Math.round(secs / 86400) + " d";
  }
  const clock = (source, at) => new Date(Date.now() - (nowOf(source) - at)).toLocaleTimeString();
  const ms = (value) => value === null || value === undefined ? "" : (value >= 1000 ? (value / 1000) + " s" : value + " ms");
  const state = (name) => ({closed: "closed", half_open: "half-open", open: "open"})[name] || String(name);
  const order = (name) => ({force_open: "forced open", disable: "disabled", reset: "reset"})[name] || String(name);
  const text = (value) => value === null || value === undefined ? "" : String(value);
  const window_ = (row) => row.window && row.window.calls !== null ? `${row.window.failures} failed, ${row.window.slow} slow of ${row.window.calls}` : "";
  const probe = (row, source) => {
    if (row.next_probe_ms === null || row.next_probe_ms === undefined) return "";
    const left = row.next_probe_ms - nowOf(source);
    return left > 0 ? "in " + span(left) : "with the next call";
  };
  const workers = (row) => {
    const parts = ["open", "half_open", "closed"].filter((one) => row.workers && row.workers[one]);
    return parts.length < 2 ? "" : parts.map((one) => row.workers[one] + " " + state(one)).join(", ");
  };
  const RANK = {open: 1, half_open: 2, closed: 3};
  const rank = (row) => row.held ? 0 : RANK[row.state] || 4;

  // ---- tables ----
  // A column: label, text of a row, class of the cell. Cells are written only where their text is another.
  const badge = (cell, value, row) => {
    const node = cell.firstChild || cell.appendChild(document.createElement("span"));
    node.className = "state " + (Object.hasOwn(RANK, row.state) ? row.state : "");
    node.textContent = value;
  };
  const meter = (cell, value, row) => {
    cell.textContent = "";
    if (row.fill === null || row.fill === undefined) return;
    const node = document.createElement("meter");
    Object.assign(node, {min: 0, max: 1, high: 0.9, value: row.fill});
    node.setAttribute("aria-label", "fill");
    cell.append(node, " " + value);
  };
  const button = (cell, value, row) => {
    if (cell.firstChild) { cell.firstChild.row = row; return; }
    if (!value) return;
    const node = cell.appendChild(document.createElement("button"));
    node.type = "button";
    node.textContent = value;
    node.setAttribute("aria-label", `Control breaker ${row.policy}, scope ${row.scope}`);
    node.row = row;
    node.addEventListener("click", () => openControl(node.row));
  };
  const canControl = (row, source) => source.name === "" && source.proxy.can_be_controlled ? "Control" : "";
  const proxyName = (row, source) => source.name || "this";
  const views = [
    {id: "breakers", rank, cards: true, empty: "No breaker was asked yet.", columns: [
      ["proxy", proxyName, "", null, true], ["policy", (row) => row.policy], ["scope", (row) => row.scope, "name"],
      ["state", (row) => state(row.state), "", badge],
      ["held", (row) => row.held ? order(row.held) : "", "held"],
      ["since", (row, source) => row.since_ms === undefined ? "" : span(nowOf(source) - row.since_ms), "n"],
      ["why", (row) => text(row.why || row.cause)], ["window", window_], ["next probe", probe],
      ["workers", workers], ["", canControl, "", button]]},
    {id: "traffic", cards: true, empty: "Nothing was asked yet.", columns: [
      ["proxy", proxyName, "", null, true], ["policy", (row) => row.policy || "(none)"],
      ...["admitted", "breaker", "rate_limit", "concurrency", "deadline"].map((one) => [one.replace("_", " ") + "/s", (row) => text(row.per_s && row.per_s[one]), "n"]),
      ["failures/s", (row) => text(row.failures_per_s), "n"],
      ...["p50", "p95", "p99"].map((one) => [one, (row) => ms(row.latency_ms && row.latency_ms[one]), "n"])]},
    {id: "limits", cards: true, empty: "No policy limits calls under way.", columns: [
      ["proxy", proxyName, "", null, true], ["policy", (row) => row.policy], ["scope", (row) => row.scope, "name"],
      ["limit", (row) => text(row.limit), "n"], ["fill", (row) => row.fill === null || row.fill === undefined ? "" : Math.round(row.fill * 100) + " %", "", meter],
      ["waiting", (row) => text(row.waiting), "n"]]},
    {id: "edges", cards: true, empty: "Nobody called yet.", columns: [
      ["proxy", proxyName, "", null, true], ["caller", (row) => row.caller === "*" ? "(others)" : row.caller, "name"], ["route", (row) => row.route, "name"], ["upstream", (row) => row.upstream, "name"],
      ["policy", (row) => text(row.policy) || "(none)"], ["calls", (row) => text(row.calls), "n"], ["failed", (row) => text(row.failed), "n"],
      ["rejected", (row) => text(row.rejected), "n"], ["retries", (row) => text(row.retries), "n"], ["p50", (row) => ms(row.latency_ms && row.latency_ms.p50), "n"], ["p99", (row) => ms(row.latency_ms && row.latency_ms.p99), "n"],
      ["limit", (row) => ms(row.timeout_ms), "n"],
      ["caller waits", (row) => row.caller_timeout_ms ? `${ms(row.caller_timeout_ms.min)} to ${ms(row.caller_timeout_ms.max)}` : ""],
      ["warnings", (row) => Object.entries(row.warnings || {}).filter(([, count]) => count).map(([kind, count]) => `${kind.replaceAll("_", " ")}: ${count}`).join(", ")]]},
    {id: "endpoints", cards: true, empty: "", columns: [
      ["proxy", proxyName, "", null, true], ["upstream", (row) => row.upstream, "name"], ["endpoint", (row) => row.endpoint, "name"], ["state", (row) => row.state], ["health", (row) => row.health],
      ["calls under way", (row) => text(row.calls), "n"], ["ejections", (row) => text(row.ejections), "n"],
      ["ejected for", (row, source) => row.ejected_until_ms ? span(row.ejected_until_ms - nowOf(source)) : "", "n"]]},
    {id: "anomalies", cards: true, empty: "None, or no policy looks for any.", columns: [
      ["proxy", proxyName, "", null, true], ["policy", (row) => row.policy], ["scope", (row) => row.scope, "name"], ["signal", (row) => row.signal], ["so far", (row) => text(row.total), "n"]]},
  ];
  for (const view of views) Object.assign(view, {known: new Map(), body: null, hasProxies: null});

  function table(view, hasProxies) {
    const host = $(view.id);
    host.textContent = "";
    view.known.clear();
    view.hasProxies = hasProxies;
    const node = document.createElement("table");
    if (view.cards) node.className = "cards";
    const head = node.createTHead().insertRow();
    view.shown = view.columns.filter((column) => hasProxies || !column[4]);
    for (const [label, , kind] of view.shown) {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = label;
      if (kind === "n") cell.className = "n";
      head.append(cell);
    }
    view.body = node.createTBody();
    view.note = document.createElement("p");
    view.note.className = "empty";
    host.append(node, view.note);
  }

  const chosen = () => {
    const name = $("source").value;
    return name === "*" ? [...sources.values()] : [sources.get(name)].filter(Boolean);
  };

  function rowsOf(view, shown) {
    const policy = $("policy").value, part = $("scope").value.toLowerCase();
    const rows = [];
    for (const source of shown) for (const row of (source.tables[view.id] || new Map()).values()) {
      if (policy && row.policy !== undefined && row.policy !== policy) continue;
      if (part && row.scope !== undefined && !String(row.scope).toLowerCase().includes(part)) continue;
      rows.push({key: source.name + "\n" + row.id, row, source});
    }
    if (view.rank) {
      const compare = (one, other) => view.rank(one.row) - view.rank(other.row);
      rows.sort(compare);
    }
    return rows;
  }

  function draw(view, shown, room, isSecond) {
    const hasProxies = shown.length > 1;
    if (!view.body || view.hasProxies !== hasProxies) table(view, hasProxies);
    const all = rowsOf(view, shown), rows = all.slice(0, MOST_ROWS);
    const keep = new Set();
    let next = view.body.firstElementChild;
    for (const {key, row, source} of rows) {
      keep.add(key);
      let known = view.known.get(key);
      if (!known) {
        // Rows that are new come a few a frame, so that no frame is long.
        if (room.left <= 0) { isDirty = true; continue; }
        room.left -= 1;
        known = {node: document.createElement("tr"), cells: [], values: [], row: null};
        for (const [label, , kind] of view.shown) {
          const cell = known.node.insertCell();
          cell.dataset.label = label;
          if (kind) cell.className = kind;
          known.cells.push(cell);
          known.values.push(undefined);
        }
        view.known.set(key, known);
      }
      write(view, known, row, source, isSecond);
      if (known.node === next) next = next.nextElementSibling;
      else view.body.insertBefore(known.node, next);
    }
    for (const [key, known] of view.known) if (!keep.has(key)) {
      if (room.left <= 0) { isDirty = true; break; }
      room.left -= 0.2;
      known.node.remove();
      view.known.delete(key);
    }
    const hidden = all.length - rows.length + shown.reduce((sum, source) => sum + (view.id === "breakers" ? source.hidden : 0), 0);
    view.note.textContent = hidden ? `${hidden} more are not shown: choose a policy, or part of a scope's name.` : rows.length ? "" : view.empty;
  }

  function write(view, known, row, source, isSecond) {
    const isOther = known.row !== row;
    if (!isOther && !isSecond) return;
    for (let at = 0; at < view.shown.length; at++) {
      const [, tell, , put] = view.shown[at];
      // What says nothing of the time is what it was.
      if (!isOther && tell.length < 2) continue;
      const value = tell(row, source);
      const isNew = known.values[at] !== value;
      if (put && (isNew || isOther)) put(known.cells[at], value, row, source);
      else if (!put && isNew) known.cells[at].textContent = value;
      known.values[at] = value;
    }
    if (isOther && view.id === "breakers" && row.isNew && known.state !== row.state && known.state !== undefined) {
      known.node.classList.remove("new");
      void known.node.offsetWidth;
      known.node.classList.add("new");
    }
    known.state = row.state;
    known.row = row;
  }

  function drawHistory(shown) {
    const policy = $("policy").value, part = $("scope").value.toLowerCase();
    const entries = shown.flatMap((source) => source.history.map((entry) => ({entry, source})));
    const isShown = ({entry}) => (!policy || entry.policy === policy) && (!part || entry.scope.toLowerCase().includes(part));
    const last = entries.filter(isShown).sort((one, other) => age(one) - age(other)).slice(0, MOST_HISTORY);
    const mark = last.map(({entry, source}) => source.name + entry.number).join() + shown.length;
    const host = $("history");
    if (host.mark === mark) return;
    host.mark = mark;
    host.textContent = "";
    if (!last.length) {
      const empty = host.appendChild(document.createElement("p"));
      empty.className = "empty";
      empty.textContent = "Nothing since the proxy began.";
      return;
    }
    const node = host.appendChild(document.createElement("table"));
    node.className = "cards";
    const labels = ["when", ...(shown.length > 1 ? ["proxy"] : []), "policy", "scope", "what", "why"];
    const head = node.createTHead().insertRow();
    for (const label of labels) { const cell = document.createElement("th"); cell.scope = "col"; cell.textContent = label; head.append(cell); }
    const body = node.createTBody();
    for (const {entry, source} of last) {
      const what = entry.order ? `${order(entry.order)} was ordered` : `${state(entry.from)} to ${state(entry.to)}` + (entry.open_for_ms ? ` for ${span(entry.open_for_ms)}` : "");
      const why = entry.order ? `from ${entry.by}` : text(entry.why);
      const cells = [clock(source, entry.at_ms), ...(shown.length > 1 ? [source.name || "this"] : []), entry.policy, entry.scope, what, why];
      const row = body.insertRow();
      cells.forEach((value, at) => { const cell = row.insertCell(); cell.dataset.label = labels[at]; if (labels[at] === "scope") cell.className = "name"; cell.textContent = value; });
    }
  }
  const age = ({entry, source}) => nowOf(source) - entry.at_ms;

  function drawSums(shown) {
    const counts = {open: 0, half_open: 0, closed: 0, held: 0}, per = {admitted: 0, rejected: 0};
    for (const source of shown) {
      for (const row of (source.tables.breakers || new Map()).values()) { counts[row.state] += 1; if (row.held) counts.held += 1; }
      for (const row of (source.tables.traffic || new Map()).values()) for (const [name, value] of Object.entries(row.per_s || {})) per[name === "admitted" ? "admitted" : "rejected"] += value || 0;
    }
    const told = [["open", counts.open], ["half-open", counts.half_open], ["closed", counts.closed], ["held by an operator", counts.held], ["admitted/s", Math.round(per.admitted * 10) / 10], ["rejected/s", Math.round(per.rejected * 10) / 10]];
    for (const source of shown) if (source.down) told.push([`${source.name}: ${source.down}`, ""]);
    const host = $("sums");
    told.forEach(([label, value], at) => {
      const item = host.children[at] || host.appendChild(document.createElement("li"));
      if (!item.firstChild) item.append(document.createElement("b"), " ", document.createElement("span"));
      if (item.firstChild.textContent !== String(value)) item.firstChild.textContent = value;
      if (item.lastChild.textContent !== label) item.lastChild.textContent = label;
    });
    while (host.children.length > told.length) host.lastChild.remove();
    const own = sources.get("");
    if (own && own.proxy.name) $("foot").textContent = `${own.proxy.name}, version ${own.proxy.version}, ${own.proxy.workers} workers, ${own.watching} watching; the last look took ${own.cost.toFixed(2)} ms of the workers. Configured: ${(own.topology.routes || []).map((one) => `${one.route} to ${one.upstream}`).join("; ")}. Keys: / looks for a scope.`;
  }

  function fill(select, options) {
    const before = select.value;
    const mark = JSON.stringify(options);
    if (select.mark === mark) return;
    select.mark = mark;
    select.textContent = "";
    for (const [value, label] of options) { const option = document.createElement("option"); option.value = value; option.textContent = label; select.append(option); }
    const wanted = select.wanted !== undefined ? select.wanted : before;
    select.value = options.some(([value]) => value === wanted) ? wanted : options[0][0];
  }
  function fillSources() {
    const names = [...sources.keys()];
    fill($("source"), names.length > 1 ? [["*", "all"], ...names.map((name) => [name, name || "this"])] : [["", "this"]]);
  }
  function fillPolicies(shown) {
    const names = new Set();
    for (const source of shown) {
      for (const one of source.topology.policies || []) names.add(one.policy);
      for (const row of (source.tables.breakers || new Map()).values()) names.add(row.policy);
    }
    fill($("policy"), [["", "all"], ...[...names].sort().map((name) => [name, name])]);
  }

  // ---- frames ----
  function frame(time) {
    requestAnimationFrame(frame);
    const isSecond = time - lastTick >= 1000;
    if (!isDirty && !isSecond) return;
    if (isSecond) {
      lastTick = time;
      if (heard && performance.now() - heard > SILENCE_MS) link("lost", "silent");
    }
    const begun = performance.now();
    isDirty = false;
    const shown = chosen();
    fillPolicies(shown);
    const room = {left: MOST_A_FRAME};
    for (const view of views) draw(view, shown, room, isSecond);
    drawHistory(shown);
    drawSums(shown);
    if (measures) performance.measure("bimetal-frame", {start: begun, end: performance.now()});
  }

  // ---- control ----
  let controlled = null;
  function openControl(row) {
    controlled = row;
    $("control-what").textContent = `${row.policy}, scope ${row.scope}: ${state(row.state)}${row.held ? ", " + order(row.held) : ""}. Force open rejects all calls, disable lets all pass, both until a reset.`;
    $("say").textContent = "";
    $("control").showModal();
    ($("token").value ? $("control-form").querySelector("button") : $("token")).focus();
  }
  $("control-close").addEventListener("click", () => $("control").close());
  $("control-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const say = $("say"), row = controlled, action = event.submitter ? event.submitter.value : "reset";
    if (!row || !String(row.path).startsWith("/breakers/")) return;
    say.textContent = "…";
    try {
      const answer = await fetch(new URL(row.path.slice(1), document.baseURI), {
        method: "POST", credentials: "omit", cache: "no-store",
        headers: {"authorization": "Bearer " + $("token").value, "content-type": "application/json"},
        body: JSON.stringify({action}),
      });
      const told = (await answer.text()).trim();
      say.textContent = answer.ok ? `done: ${order(action)}` : `${answer.status}: ${told}`;
    } catch (error) {
      say.textContent = "not sent: " + error.message;
    }
  });

  // ---- filters ----
  $("policy").wanted = asked.get("policy") || "";
  $("scope").value = asked.get("scope") || "";
  for (const id of ["policy", "scope", "source"]) $(id).addEventListener("input", () => {
    const node = $(id);
    node.wanted = node.value;
    if (id !== "source") { if (node.value) asked.set(id, node.value); else asked.delete(id); }
    const query = asked.toString();
    history.replaceState(null, "", query ? "?" + query : location.pathname);
    isDirty = true;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    event.preventDefault();
    $("scope").focus();
  });
  fillSources();
  connect();
  requestAnimationFrame(frame);
})();
