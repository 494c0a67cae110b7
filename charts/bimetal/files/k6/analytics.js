// The loads of the load-analytics service: `k6 run -e LOAD=thousand native-proxy/k6/analytics.js`.
//
// LOAD: `thousand` (1,000 requests/s for 1 minute), `steady` (500 requests/s for 5 minutes), `batches` (20,000
// samples/s in batches of 500, for 1 minute), or `short` (each of them for 8 s, one after the other).
// URL: where the service is, http://127.0.0.1:8080 if not given.
//
// At the end it tells how many samples the service counted meanwhile: as many as `samples_acknowledged`.

import exec from "k6/execution";
import http from "k6/http";
import { check, fail } from "k6";
import { Counter } from "k6/metrics";

const url = __ENV.URL || "http://127.0.0.1:8080";
const BATCH = 500;
const acknowledged = new Counter("samples_acknowledged");

const rate = (name, perSecond, duration, startTime) => ({
  executor: "constant-arrival-rate",
  exec: name,
  rate: perSecond,
  duration,
  startTime,
  preAllocatedVUs: 50,
  maxVUs: 500,
});
const asks = (duration, startTime) => rate("analyze", 10, duration, startTime);
const loads = {
  thousand: { thousand: rate("one", 1000, "60s", "0s"), asks: asks("60s", "0s") },
  steady: { steady: rate("one", 500, "300s", "0s"), asks: asks("300s", "0s") },
  batches: { batches: rate("batch", 20000 / BATCH, "60s", "0s"), asks: asks("60s", "0s") },
  short: {
    thousand: rate("one", 1000, "8s", "0s"),
    steady: rate("one", 500, "8s", "9s"),
    batches: rate("batch", 20000 / BATCH, "8s", "18s"),
    asks: asks("26s", "0s"),
  },
};
const chosen = loads[__ENV.LOAD || "thousand"];
if (!chosen) {
  fail(`LOAD is one of ${Object.keys(loads).join(", ")}`);
}

const thresholds = { checks: ["rate==1"] };
for (const name of Object.keys(chosen)) {
  // A threshold makes k6 tell the figure of each scenario by itself.
  thresholds[`http_req_duration{scenario:${name}}`] = ["p(95)<1000"];
  thresholds[`http_reqs{scenario:${name}}`] = ["count>0"];
  thresholds[`http_req_failed{scenario:${name}}`] = ["rate==0"];
}
export const options = { scenarios: chosen, thresholds, summaryTrendStats: ["med", "p(95)", "p(99)", "max"] };

// About 200 requests a second with noise, and one peak in a thousand samples.
function sample(number) {
  const peak = number % 1000 === 999 ? 300 : 0;
  const noise = (Math.random() + Math.random() + Math.random() - 1.5) * 30;
  return {
    timestamp: Date.now() / 1000,
    cpu: 40 + Math.random() * 10,
    rps: Math.max(0, 200 + noise + peak),
    // Of one width: of samples of one time the order is that of the names.
    id: `${exec.scenario.name}/${exec.scenario.startTime}/${String(number).padStart(9, "0")}`,
  };
}

function send(body, count) {
  const answer = http.post(`${url}/ingest`, body, { tags: { name: "ingest" } });
  if (check(answer, { accepted: (it) => it.status === 202 && it.json("accepted") === count })) {
    acknowledged.add(count);
  }
}

export function one() {
  send(JSON.stringify(sample(exec.scenario.iterationInTest)), 1);
}

// Made once: 20,000 samples a second cost k6 more than the service.
const NOW = '"now"';
const template = JSON.stringify(
  Array.from({ length: BATCH }, (_, place) => ({ timestamp: "now", cpu: 45, rps: 200 + (place % 30) })),
);

export function batch() {
  send(template.replaceAll(NOW, String(Date.now() / 1000)), BATCH);
}

export function analyze() {
  const answer = http.get(`${url}/analyze`, { tags: { name: "analyze" } });
  check(answer, { "a full window": (it) => it.status === 200 && it.json("window_size") === 50 });
}

export function setup() {
  return { before: http.get(`${url}/analyze`).json("count") };
}

export function teardown(data) {
  const after = http.get(`${url}/analyze`).json();
  console.log(`counted: ${after.count - data.before} samples, ${after.anomaly_count} anomalies`);
}
