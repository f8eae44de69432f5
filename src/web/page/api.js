// Requests to the server that gave this page.
const meta = (name) => document.querySelector(`meta[name="${name}"]`)?.content;
export const readOnly = meta('tallow-read-only') === 'yes';

async function answer(response) {
  let body;
  try { body = await response.json(); } catch { body = {}; }
  if (!response.ok) {
    throw body.error ?? { code: 'http', message: `the server answered ${response.status}` };
  }
  return body;
}

const gone = () => {
  throw { code: 'offline', message: 'The server does not answer.',
    hint: '`tallow web` starts it again; this page then goes on by itself.' };
};

/** Reads: a request that is no longer wanted is broken off by its `signal`. */
export async function get(name, params = {}, signal = undefined) {
  const given = Object.entries(params).filter(([, v]) => v !== undefined && v !== null && v !== '');
  const url = `/api/${name}?${new URLSearchParams(given)}`;
  const response = await fetch(url, { signal }).catch((e) => {
    if (e.name === 'AbortError') throw e;
    return gone();
  });
  return answer(response);
}

/** Changes something. */
export async function post(name, body) {
  const headers = { 'Content-Type': 'application/json', 'X-Tallow-Token': meta('tallow-token') };
  const response = await fetch(`/api/${name}`, { method: 'POST', headers, body: JSON.stringify(body) })
    .catch(gone);
  return answer(response);
}

function shown(state) {
  const live = document.getElementById('live');
  live.dataset.on = { on: 'yes', off: 'no', wait: 'wait' }[state] ?? '';
  live.lastElementChild.textContent = { on: 'live', off: 'offline', wait: 'connecting' }[state] ?? '';
}

/** Events as they happen, by name; the browser connects again by itself. Gives a way to end it. */
export function events(params, handlers) {
  const source = new EventSource(`/api/events?${new URLSearchParams(params)}`);
  shown('wait');
  source.onopen = () => shown('on');
  source.onerror = () => {
    shown('off');
    // A refused stream is not tried again by the browser.
    if (source.readyState === EventSource.CLOSED) {
      setTimeout(() => handlers.lost?.(), 3000);
    }
  };
  for (const [name, act] of Object.entries(handlers)) {
    source.addEventListener(name, (e) => act(JSON.parse(e.data)));
  }
  return () => { source.close(); shown('none'); };
}
