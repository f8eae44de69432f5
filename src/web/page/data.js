// Training examples token by token: what the loss covers is coloured.
import { get } from './api.js';
import { h, fill, put, count, faultBox, empty, panel, wait } from './dom.js';

const COUNT = 10;

export function view(main, { project, run, part: asked, from: begin, go }) {
  let page = null;
  let from = Number(begin ?? 0) || 0;
  let part = asked ?? 'train';
  let broken = null;
  const parts = h('select', { 'aria-label': 'Part', onchange: () => { part = parts.value; from = 0; load(); } },
    h('option', { value: part }, part));
  const back = h('button', { type: 'button', title: 'Earlier rows (h)', onclick: () => turn(-1) },
    'Earlier');
  const on = h('button', { type: 'button', title: 'Later rows (l)', onclick: () => turn(1) }, 'Later');
  const place = h('span', { class: 'dim num', style: { minWidth: '150px' } });
  const cut = h('input', { type: 'checkbox', onchange: () => draw() });
  const box = h('div', null, wait(480));
  const source = run ? ['of run ', h('a', { href: go.address({ v: 'run', id: run }) }, run)]
    : ['as the project is configured now'];
  fill(main, h('div', { class: 'head' }, h('h1', null, 'Training examples'),
    h('span', { class: 'dim' }, source)),
  h('div', { class: 'tools' }, parts, back, on, place,
    h('span', { class: 'legendline right' },
      h('span', null, h('i', { class: 'box t' }), 'trained'),
      h('span', null, h('i', { class: 'box' }), 'masked: the model sees it, the loss does not'),
      h('label', null, cut, ' token borders'))), box);

  async function load() {
    broken?.abort();
    broken = new AbortController();
    try {
      const params = { project, run, part, from, count: COUNT };
      page = await get('data', params, broken.signal);
      draw();
    } catch (fault) {
      if (fault.name !== 'AbortError') fill(box, faultBox(fault, load));
    }
  }
  const rows = () => page?.parts.find((p) => p.name === page.part)?.rows ?? 0;
  function turn(by) {
    const next = from + by * COUNT;
    if (!page || next < 0 || next >= rows()) return;
    from = next;
    load();
  }

  function draw() {
    if (!page) return;
    const total = rows();
    fill(parts, page.parts.map((p) => h('option', { value: p.name, selected: p.name === page.part },
      `${p.name} (${count(p.rows)} rows)`)));
    put(place, total ? `rows ${count(page.from + 1)} to ${count(Math.min(total, page.from + COUNT))} of `
      + count(total) : 'no rows');
    back.disabled = page.from === 0;
    on.disabled = page.from + COUNT >= total;
    const bad = page.parts.find((p) => p.name === page.part)?.bad_rows;
    const about = `${page.model} \u00b7 template: ${page.template} \u00b7 at most `
      + `${count(page.max_seq_length)} tokens`;
    fill(box, page.notes.length > 0 && h('div', { class: 'note' }, page.notes.map((n) => h('p', null, n))),
      page.problems.length > 0 && h('div', { class: 'note bad' },
        h('p', null, bad ? `${count(bad)} rows of this part cannot be used:` : 'Rows that give no example:'),
        page.problems.map((p) => h('p', { class: 'mono' }, p))),
      page.examples.length === 0 ? h('div', { class: 'panel' }, empty('No examples here',
        total ? 'No row of this page gives one.' : 'The part has no usable rows.'))
        : panel('Examples', h('div', null, page.examples.map(example)), h('span', { class: 'dim' }, about)));
  }

  function example(e) {
    const share = e.tokens ? Math.round((100 * e.trained_tokens) / e.tokens) : 0;
    return h('article', { class: 'example' },
      h('div', { class: 'line' }, h('span', { class: 'mono' }, e.at),
        h('span', null, `${count(e.tokens)} tokens`),
        h('span', null, `${count(e.trained_tokens)} trained (${share} %)`)),
      h('div', { class: `tokens${cut.checked ? ' cut' : ''}` }, spans(e.pieces, cut.checked),
        e.tokens > e.pieces.length && h('span', null, ` \u2026 ${count(e.tokens - e.pieces.length)} more`)));
  }
  load();
  return { end: () => broken?.abort(), keys: { h: () => turn(-1), l: () => turn(1),
    b: () => { cut.checked = !cut.checked; draw(); } } };
}

/** One element a token where borders are shown, else one a stretch of the same kind. */
function spans(pieces, borders) {
  const all = [];
  for (const p of pieces) {
    const last = all.at(-1);
    if (!borders && last?.trained === p.trained) last.text += p.text;
    else all.push({ ...p });
  }
  return all.map((p) => h('span', { class: p.trained ? 't' : null,
    title: borders ? `token ${p.id}, ${p.trained ? 'trained' : 'masked'}` : null }, p.text));
}
