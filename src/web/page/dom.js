// Small parts that all views use. Text always becomes text, never markup: nothing here, or in any
// other file of the page, writes HTML.

/** An element: `h('p', {class: 'x', onclick: f}, 'text', child, ...)`. */
export function h(tag, props, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) e.addEventListener(name.slice(2), value);
    else if (name === 'style') Object.assign(e.style, value);
    else if (name in e && typeof value !== 'string') e[name] = value;
    else e.setAttribute(name, value === true ? '' : String(value));
  }
  e.append(...children.flat(9).filter((c) => c !== undefined && c !== null && c !== false));
  return e;
}

export const fill = (e, ...children) => e.replaceChildren(...children.flat(9).filter(Boolean));

/** Sets text only where it changes, so that a selection survives. */
export function put(e, text) {
  if (e.textContent !== String(text)) e.textContent = text;
}

export function panel(title, body, more) {
  return h('section', { class: 'panel' }, h('header', null, h('h2', null, title), more), body);
}

export const wait = (height) => h('div', { class: 'wait', style: { height: `${height}px` } });

/** A fault as the server tells it, with a way to try again. */
export function faultBox(fault, retry) {
  return h('div', { class: 'note bad', role: 'alert' },
    h('p', null, fault.message ?? String(fault)),
    fault.hint && h('p', { class: 'dim' }, fault.hint),
    retry && h('button', { class: 'small', type: 'button', onclick: retry }, 'Try again'));
}

export function empty(title, ...words) {
  return h('div', { class: 'empty' }, h('h2', null, title), h('p', null, ...words));
}

export function toast(text, bad) {
  const box = h('div', { class: bad ? 'note bad' : 'note plain' }, text);
  document.getElementById('toasts').append(box);
  setTimeout(() => box.remove(), bad ? 9000 : 4000);
}

export function dialog(...children) {
  const d = document.getElementById('dialog');
  fill(d, ...children);
  if (!d.open) d.showModal();
  return d;
}
export const closeDialog = () => document.getElementById('dialog').close();

export function ask(title, words, act, danger) {
  dialog(h('div', { class: 'stack' }, h('h2', null, title), h('p', null, words),
    h('div', { class: 'row' },
      h('button', { type: 'button', onclick: closeDialog }, 'No'),
      h('button', { class: danger ? 'danger' : 'main', type: 'button', autofocus: true,
        onclick: () => { closeDialog(); act(); } }, title))));
}

// Figures.
export const dash = '\u2013';

export function figure(v, digits = 4) {
  if (v === null || v === undefined || !Number.isFinite(v)) return dash;
  const size = Math.abs(v);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return v.toExponential(2);
  return size >= 1000 ? v.toFixed(0) : v.toFixed(size >= 100 ? 1 : digits);
}
export const count = (n) => (n === null || n === undefined ? dash : n.toLocaleString('en'));
export function bytes(n) {
  if (n === null || n === undefined) return dash;
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let i = 0;
  while (n >= 1024 && i < 4) { n /= 1024; i += 1; }
  return `${i === 0 ? n : n.toFixed(n < 10 ? 2 : 1)} ${units[i]}`;
}
export function seconds(s) {
  if (s === null || s === undefined || !Number.isFinite(s)) return dash;
  if (s < 60) return `${s < 10 ? s.toFixed(1) : s.toFixed(0)} s`;
  const m = Math.round(s / 60);
  if (m < 60) return `${m} min`;
  const hours = Math.floor(m / 60);
  return hours < 48 ? `${hours} h ${m % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
export function when(text) {
  if (!text) return dash;
  const d = new Date(text);
  if (Number.isNaN(d.getTime())) return text;
  const two = (n) => String(n).padStart(2, '0');
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} `
    + `${two(d.getHours())}:${two(d.getMinutes())}`;
}
export function plain(v) {
  if (v === null || v === undefined) return 'unset';
  if (typeof v === 'number') return Number.isInteger(v) ? count(v) : String(v);
  return typeof v === 'string' ? v : JSON.stringify(v);
}
