// The origin study's load: a ramp up, a hold, a ramp down, with think time. A closed loop: it shows
// what the origin showed, and no claim of this study comes from it.
//
// TARGET=http://127.0.0.1:8001  where calls go
// VUS=10          virtual users at the top
// PAYLOAD_KB=0    the message's size; 0 is the small message of the load by users
// SHAPE=origin    origin (30 s, 2 min, 30 s) | spike (to four times the users at once) | stress (up in steps)
// SCALE=1         what every duration is multiplied by; below 1 it is a smoke test
// OUT=file        where the summary goes as JSON

import http from 'k6/http';
import { check, sleep } from 'k6';

const vus = Number(__ENV.VUS || 10);
const payload = Number(__ENV.PAYLOAD_KB || 0);
const scale = Number(__ENV.SCALE || 1);
const shape = __ENV.SHAPE || 'origin';

const seconds = (number) => `${Math.max(1, Math.round(number * scale))}s`;
const stage = (duration, target) => ({ duration: seconds(duration), target });

const SHAPES = {
  origin: [stage(30, vus), stage(120, vus), stage(30, 0)],
  spike: [stage(20, vus), stage(5, 4 * vus), stage(30, 4 * vus), stage(5, vus), stage(30, vus), stage(10, 0)],
  stress: [1, 2, 3, 4].flatMap((step) => [stage(10, step * vus), stage(30, step * vus)]).concat(stage(20, 0)),
};
if (!SHAPES[shape]) {
  throw new Error(`SHAPE=${shape}: there are ${Object.keys(SHAPES).join(', ')}`);
}

export const options = {
  scenarios: {
    users: { executor: 'ramping-vus', startVUs: 0, stages: SHAPES[shape], gracefulRampDown: seconds(10) },
  },
  // By users: less than 1 % failed, p95 under 0.5 s. By payload: 5 %, and 5 s.
  thresholds: payload > 0
    ? { http_req_failed: ['rate<0.05'], http_req_duration: ['p(95)<5000'] }
    : { http_req_failed: ['rate<0.01'], http_req_duration: ['p(95)<500'] },
  summaryTrendStats: ['avg', 'min', 'med', 'max', 'p(90)', 'p(95)', 'p(99)', 'count'],
};

const body = JSON.stringify({ message: payload > 0 ? 'X'.repeat(payload * 1000) : 'hello' });
const params = {
  headers: { 'content-type': 'application/json' },
  timeout: payload > 0 ? '10s' : '1s',
};

export default function () {
  const answer = http.post(`${__ENV.TARGET}/echo`, body, params);
  check(answer, { 'status 200': (one) => one.status === 200 });
  sleep(Math.random() * 0.5);
}

export function handleSummary(data) {
  const written = JSON.stringify(data);
  return __ENV.OUT ? { [__ENV.OUT]: written } : { stdout: written };
}
