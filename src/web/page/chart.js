// A line chart on a canvas: hover, zoom by dragging or wheel, logarithmic axis, keys. Charts of one
// group share range and cursor. It draws what the server has made few enough; a zoom asks for more.
import { h, fill, figure } from './dom.js';

const PAD = { left: 68, right: 10, top: 8, bottom: 22 };
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** What charts share: `range` is [from, to] or null for all, `cursor` a step or null. */
export class Group {
  constructor(onrange) { Object.assign(this, { range: null, cursor: null, charts: [], onrange }); }
  zoom(range) {
    this.range = range;
    this.onrange(range);
    this.draw();
  }
  point(x) {
    if (x === this.cursor) return;
    this.cursor = x;
    this.charts.forEach((c) => c.soon(false));
  }
  draw() { this.charts.forEach((c) => c.soon()); }
}

function ticks(low, high, most) {
  if (!(high > low)) return [low];
  const rough = (high - low) / most;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 5, 10].find((m) => m * unit >= rough);
  const all = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-9; v += step) all.push(v);
  return all;
}
function logTicks(low, high) {
  const all = [];
  const few = Math.log10(high / low) < 1.6;
  for (let e = Math.floor(Math.log10(low)); 10 ** e <= high; e += 1) {
    for (const m of few ? [1, 2, 5] : [1]) {
      if (m * 10 ** e >= low && m * 10 ** e <= high) all.push(m * 10 ** e);
    }
  }
  return all.length > 1 ? all : [low, high];
}

/** 4.000 as 4, 3.00e-4 as 3e-4. */
const tidy = (t) => t.replace(/\.(\d*?)0+(?=$|[e ])/, (_, kept) => (kept ? `.${kept}` : ''));

export class Chart {
  /** `format` writes a value, `log` says whether the axis may be made logarithmic. */
  constructor(title, group, { wide = false, third = false, format = figure, log = false } = {}) {
    Object.assign(this, { title, group, format, series: [], isLog: false, stage: null });
    this.canvas = h('canvas', { tabindex: '0', role: 'img', 'aria-label': title });
    this.tip = h('div', { class: 'tip', hidden: true });
    this.legend = h('div', { class: 'legend' });
    const scale = log && h('button', { class: 'small', type: 'button', 'aria-pressed': 'false',
      title: 'Logarithmic axis', onclick: (e) => {
        this.isLog = !this.isLog;
        e.currentTarget.setAttribute('aria-pressed', String(this.isLog));
        this.soon();
      } }, 'log');
    this.element = h('section', { class: `panel chart${wide ? ' wide' : third ? ' third' : ''}` },
      h('div', { class: 'top' }, h('h2', null, title), scale, this.legend),
      h('div', { class: 'plot' }, this.canvas, this.tip));
    group.charts.push(this);
    this.watch = new ResizeObserver(() => this.soon());
    this.watch.observe(this.canvas);
    this.listen();
  }

  /** `series`: [{name, color, x, y, faint, dots}]. */
  set(series, stage = null) {
    this.series = series;
    this.stage = stage;
    const shown = series.filter((s) => !s.faint);
    const key = shown.map((s) => s.name + s.color).join();
    if (key !== this.key) {
      this.key = key;
      fill(this.legend, shown.length > 1 ? shown.map((s) =>
        h('span', { title: s.name }, h('i', { style: { background: css(s.color) } }), s.name)) : []);
    }
    const ends = shown.filter((s) => s.y.length).map((s) =>
      `${s.name} ${this.format(s.y.at(-1))} at step ${s.x.at(-1)}`);
    this.canvas.setAttribute('aria-label', `${this.title}: ${ends.join(', ') || 'no values yet'}`);
    this.soon();
  }

  /** Draws before the next frame; without `anew` only the cursor, over the curves as they are. */
  soon(anew = true) {
    this.anew ||= anew;
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => { this.asked = false; this.draw(); });
  }

  bounds() {
    let [x0, x1] = this.group.range ?? [Infinity, -Infinity];
    if (!this.group.range) {
      for (const c of this.group.charts) {
        for (const s of c.series) {
          if (s.x.length) { x0 = Math.min(x0, s.x[0]); x1 = Math.max(x1, s.x.at(-1)); }
        }
      }
    }
    if (!(x1 > x0)) { x0 = Number.isFinite(x0) ? x0 - 1 : 0; x1 = x0 + 2; }
    let [y0, y1] = [Infinity, -Infinity];
    for (const s of this.series) {
      for (let i = 0; i < s.x.length; i += 1) {
        const y = s.y[i];
        if (s.x[i] < x0 || s.x[i] > x1 || (this.isLog && !(y > 0))) continue;
        if (y < y0) y0 = y;
        if (y > y1) y1 = y;
      }
    }
    if (!Number.isFinite(y0)) [y0, y1] = this.isLog ? [0.1, 1] : [0, 1];
    if (this.isLog) return { x0, x1, y0: y0 / 1.08, y1: y1 * 1.08 };
    const room = (y1 - y0) * 0.06 || Math.abs(y1) * 0.1 || 1;
    return { x0, x1, y0: y0 >= 0 ? Math.max(0, y0 - room) : y0 - room, y1: y1 + room };
  }

  scale() {
    const b = this.bounds();
    const w = this.canvas.clientWidth - PAD.left - PAD.right;
    const t = this.canvas.clientHeight - PAD.top - PAD.bottom;
    const f = this.isLog ? Math.log : (v) => v;
    const [y0, y1] = [f(b.y0), f(b.y1)];
    return { ...b, w, t, px: (x) => PAD.left + ((x - b.x0) / (b.x1 - b.x0)) * w,
      py: (y) => PAD.top + t - ((f(y) - y0) / (y1 - y0)) * t,
      step: (px) => b.x0 + ((px - PAD.left) / w) * (b.x1 - b.x0) };
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    const ratio = window.devicePixelRatio || 1;
    const [cw, ch] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== cw || this.canvas.height !== ch) {
      this.canvas.width = cw;
      this.canvas.height = ch;
    }
    const wants = !this.back || this.anew || this.back.width !== cw || this.back.height !== ch;
    if (wants) this.still(cw, ch, ratio, width, height);
    const g = this.canvas.getContext('2d');
    g.setTransform(1, 0, 0, 1, 0, 0);
    g.clearRect(0, 0, cw, ch);
    g.drawImage(this.back, 0, 0);
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    const s = this.kept;
    if (this.drag) {
      g.fillStyle = css('--accent');
      g.globalAlpha = 0.15;
      g.fillRect(Math.min(...this.drag), PAD.top, Math.abs(this.drag[1] - this.drag[0]), s.t);
      g.globalAlpha = 1;
    }
    const { cursor } = this.group;
    if (cursor !== null && cursor >= s.x0 && cursor <= s.x1) {
      this.line(g, s.px(cursor), s, css('--dim'), []);
    }
    this.hint(s);
  }

  /** Axes and curves, kept for the next frames. */
  still(cw, ch, ratio, width, height) {
    this.anew = false;
    this.back ??= document.createElement('canvas');
    Object.assign(this.back, { width: cw, height: ch });
    const g = this.back.getContext('2d');
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    const s = this.scale();
    this.kept = s;
    this.axes(g, s, width, height);
    g.beginPath();
    g.rect(PAD.left, PAD.top - 2, s.w, s.t + 4);
    g.clip();
    if (this.stage !== null) this.line(g, s.px(this.stage), s, css('--dim'), [4, 4]);
    for (const one of this.series) this.curve(g, s, one);
  }

  axes(g, s, width, height) {
    g.font = '11px system-ui, sans-serif';
    g.lineWidth = 1;
    g.textBaseline = 'middle';
    g.textAlign = 'right';
    const marks = this.isLog ? logTicks(s.y0, s.y1) : ticks(s.y0, s.y1, 4);
    // As many digits as tell two marks apart.
    const digits = Math.min(8, Math.max(3, Math.ceil(-Math.log10(Math.abs(marks[1] - marks[0]) || 1))));
    for (const v of marks) {
      const y = Math.round(s.py(v)) + 0.5;
      g.strokeStyle = css('--line-soft');
      g.beginPath(); g.moveTo(PAD.left, y); g.lineTo(width - PAD.right, y); g.stroke();
      g.fillStyle = css('--dim');
      g.fillText(tidy(this.format(v, digits)), PAD.left - 6, y);
    }
    g.textAlign = 'center';
    g.textBaseline = 'alphabetic';
    for (const v of ticks(s.x0, s.x1, Math.max(2, Math.floor(s.w / 90)))) {
      const x = s.px(v);
      if (x > width - 24 || !Number.isInteger(v)) continue;
      g.fillText(v.toLocaleString('en'), x, height - 6);
    }
  }

  line(g, x, s, color, dash) {
    g.strokeStyle = color;
    g.setLineDash(dash);
    g.beginPath(); g.moveTo(x, PAD.top); g.lineTo(x, PAD.top + s.t); g.stroke();
    g.setLineDash([]);
  }

  curve(g, s, one) {
    g.strokeStyle = css(one.color);
    g.fillStyle = g.strokeStyle;
    g.globalAlpha = one.faint ? 0.28 : 1;
    g.lineWidth = one.faint ? 1 : 1.7;
    g.lineJoin = 'round';
    g.beginPath();
    let pen = false;
    for (let i = 0; i < one.x.length; i += 1) {
      const y = one.y[i];
      if (y === null || (this.isLog && !(y > 0))) { pen = false; continue; }
      if (pen) g.lineTo(s.px(one.x[i]), s.py(y));
      else g.moveTo(s.px(one.x[i]), s.py(y));
      pen = true;
    }
    g.stroke();
    if (one.dots && one.x.length < 80) {
      one.x.forEach((x, i) => {
        g.beginPath(); g.arc(s.px(x), s.py(one.y[i]), 2.6, 0, 7); g.fill();
      });
    }
    g.globalAlpha = 1;
  }

  /** The values at the cursor. */
  hint(s) {
    const at = this.group.cursor;
    const shown = at === null ? [] : this.series.filter((one) => !one.faint && one.x.length);
    this.tip.hidden = shown.length === 0;
    if (this.tip.hidden) return;
    const rows = shown.map((one) => {
      const i = nearest(one.x, at);
      return h('div', null, h('span', null, h('i', { style: { background: css(one.color) } }),
        one.name), h('b', null, this.format(one.y[i])));
    });
    fill(this.tip, h('div', { class: 'dim' }, `step ${Math.round(at).toLocaleString('en')}`), rows);
    const x = s.px(at);
    const left = x > s.w / 2 + PAD.left ? x - this.tip.offsetWidth - 10 : x + 10;
    Object.assign(this.tip.style, { left: `${Math.max(0, left)}px`, top: `${PAD.top}px` });
  }

  /** The step with a value that lies nearest to a place on the canvas. */
  snap(px) {
    const first = this.series.find((one) => one.x.length);
    if (!first) return null;
    return first.x[nearest(first.x, (this.kept ?? this.scale()).step(px))];
  }

  listen() {
    const c = this.canvas;
    const place = (e) => e.clientX - c.getBoundingClientRect().left;
    c.addEventListener('pointermove', (e) => {
      if (this.drag) { this.drag[1] = place(e); this.soon(false); }
      this.group.point(this.snap(place(e)));
    });
    c.addEventListener('pointerleave', () => this.group.point(null));
    c.addEventListener('blur', () => this.group.point(null));
    c.addEventListener('pointerdown', (e) => {
      if (e.button !== 0 || e.pointerType === 'touch') return;
      this.drag = [place(e), place(e)];
      c.setPointerCapture(e.pointerId);
    });
    c.addEventListener('pointerup', () => {
      const drag = this.drag;
      this.drag = null;
      if (!drag || Math.abs(drag[1] - drag[0]) < 6) return this.soon(false);
      const { step } = this.scale();
      const [a, b] = drag.map(step).sort((p, q) => p - q).map(Math.round);
      if (b > a) this.group.zoom([Math.max(0, a), b]);
    });
    c.addEventListener('dblclick', () => this.group.zoom(null));
    c.addEventListener('wheel', (e) => {
      if (!e.ctrlKey && !e.shiftKey) return;
      e.preventDefault();
      this.near((e.deltaY || e.deltaX) > 0 ? 1.3 : 1 / 1.3, this.scale().step(place(e)));
    }, { passive: false });
    c.addEventListener('keydown', (e) => this.key_(e));
  }

  near(by, around) {
    const { x0, x1 } = this.bounds();
    const [a, b] = [around - (around - x0) * by, around + (x1 - around) * by].map(Math.round);
    if (b > a + 1) this.group.zoom([Math.max(0, a), b]);
  }

  key_(e) {
    const { x0, x1 } = this.bounds();
    const first = this.series.find((one) => one.x.length);
    const now = this.group.cursor ?? x1;
    const by = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
    if (by && first) {
      const i = nearest(first.x, now) + by * (e.shiftKey ? 10 : 1);
      this.group.point(first.x[Math.min(first.x.length - 1, Math.max(0, i))]);
    } else if (e.key === '+' || e.key === '=') this.near(1 / 1.5, this.group.cursor ?? (x0 + x1) / 2);
    else if (e.key === '-') this.near(1.5, this.group.cursor ?? (x0 + x1) / 2);
    else if (e.key === '0') this.group.zoom(null);
    else return;
    e.preventDefault();
  }

  end() { this.watch.disconnect(); }
}

function nearest(xs, at) {
  let [low, high] = [0, xs.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (xs[middle] < at) low = middle + 1; else high = middle;
  }
  return low > 0 && at - xs[low - 1] < xs[low] - at ? low - 1 : low;
}
