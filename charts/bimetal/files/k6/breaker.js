// The origin study's check of a breaker, in four phases: it works, it fails, it is open, it has recovered.
//
// TARGET=http://127.0.0.1:8001  where calls go
// FAIL=header     how a call fails: header (x-fault-status: 500) | path (/test-failure of the embedded default)
// OPEN_S=30       the breaker's open time in seconds
// OUT=file        where the summary goes as JSON
//
// While it is open every call is turned away until the open time after the last opening has passed; then one
// probe closes it. The last opening is at latest at the end of the failing phase, so by then plus OPEN_S it must
// be closed.

import exec from 'k6/execution';
import http from 'k6/http';
import { check, sleep } from 'k6';
import { Counter } from 'k6/metrics';

const open = Number(__ENV.OPEN_S || 30);
// As in the origin: 30 s, 45 s, and from then on for two open times.
const NORMAL = 30;
const FAILING = 45;
const OPEN = 2 * open;
const RECOVERED = 30;

const failed = new Counter('failed_calls');
const blocked = new Counter('blocked_calls');
const again = new Counter('calls_after_recovery');
const relapsed = new Counter('blocked_after_recovery');

const phase = (exec, startTime, duration, vus) => ({
  executor: 'constant-vus', exec, vus, startTime: `${startTime}s`, duration: `${duration}s`, gracefulStop: '1s',
});

export const options = {
  scenarios: {
    normal: phase('normal', 0, NORMAL, 1),
    failing: phase('failing', NORMAL, FAILING, 2),
    // One user, so that it can remember whether it was let through.
    open: phase('whileOpen', NORMAL + FAILING, OPEN + RECOVERED, 1),
  },
  thresholds: {
    'checks{phase:normal}': ['rate==1'],
    'checks{phase:recovered}': ['rate==1'],
    failed_calls: ['count>0'],
    blocked_calls: ['count>0'],
    calls_after_recovery: ['count>0'],
    blocked_after_recovery: ['count==0'],
  },
};

const body = JSON.stringify({ message: 'hello' });
const headers = { 'content-type': 'application/json' };
const call = (path, more) =>
  http.post(`${__ENV.TARGET}${path}`, body, { headers: Object.assign({}, headers, more), timeout: '5s' });

export function normal() {
  check(call('/echo', {}), { 'served': (one) => one.status === 200 }, { phase: 'normal' });
  sleep(0.2);
}

export function failing() {
  const answer = __ENV.FAIL === 'path'
    ? call('/test-failure', {})
    : call('/echo', { 'x-fault-status': '500' });
  if (answer.status >= 500) {
    failed.add(1);
  }
  sleep(0.2);
}

let recovered = false;

export function whileOpen() {
  const answer = call('/echo', {});
  if (answer.status === 200) {
    recovered = true;
    again.add(1);
  } else if (recovered) {
    relapsed.add(1);
  } else {
    blocked.add(1);
  }
  // From the end of the failing phase on, no opening is younger than OPEN_S; a second for the clock's sake.
  if (exec.instance.currentTestRunDuration > (NORMAL + FAILING + open + 1) * 1000) {
    check(answer, { 'closed again': (one) => one.status === 200 }, { phase: 'recovered' });
  }
  sleep(0.2);
}

export function handleSummary(data) {
  const written = JSON.stringify(data);
  return __ENV.OUT ? { [__ENV.OUT]: written } : { stdout: written };
}
