
'use strict';
// Filters and zoom. Everything is on the page without them; they hide and stretch it.
(() => {
  const WIDTH = 10000;
  const SMALLEST = WIDTH / 20000;
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));
  const one = (selector) => document.querySelector(selector);

  const form = one('#filter');
  const groups = all('.group').map((group) => ({
    group,
    shown: group.querySelector('.shown'),
    total: group.querySelector('.shown').textContent,
    findings: all('.finding', group),
  }));
  const texts = new WeakMap();
  const textOf = (finding) => {
    if (!texts.has(finding)) texts.set(finding, finding.textContent.toLowerCase());
    return texts.get(finding);
  };
  const ofNodes = all('.track[data-node], tr[data-node]');

  function filter() {
    const words = one('#text').value.toLowerCase().split(/\s+/).filter(Boolean);
    const node = one('#node').value.trim().toLowerCase();
    const severities = new Set(all('[name=severity]').filter((box) => box.checked).map((box) => box.value));
    const isNode = (element) => !node || element.dataset.node.toLowerCase().includes(node);
    let shown = 0;
    let total = 0;
    for (const { group, shown: label, total: text, findings } of groups) {
      let here = 0;
      for (const finding of findings) {
        const fits = severities.has(finding.dataset.severity)
          && (finding.dataset.node === '' || isNode(finding))
          && words.every((word) => textOf(finding).includes(word));
        finding.hidden = !fits;
        here += fits;
      }
      group.hidden = here === 0;
      label.textContent = here === findings.length ? text : here + ' of ' + text;
      shown += here;
      total += findings.length;
    }
    for (const element of ofNodes) element.hidden = !isNode(element);
    one('#told').textContent = shown + ' of ' + total + ' findings';
  }
  form.hidden = false;
  form.addEventListener('input', filter);
  form.addEventListener('submit', (event) => event.preventDefault());
  filter();

  const timeline = one('#timeline');
  const from = Number(timeline.dataset.from);
  const length = Number(timeline.dataset.until) - from;
  const view = { from: 0, until: WIDTH };
  const charts = all('svg.zoom').map((svg) => ({ svg, height: svg.viewBox.baseVal.height }));
  const axes = all('svg.axis');
  const STEPS = [1, 2, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];
  const timeAt = (place) => from + place / WIDTH * length;
  const toText = (ms) => new Date(ms).toISOString().slice(0, 19) + 'Z';

  function labels() {
    const start = timeAt(view.from);
    const end = timeAt(view.until);
    const step = (STEPS.find((s) => (end - start) / 1000 / s < 9) || Math.ceil((end - start) / 9000)) * 1000;
    const found = [];
    for (let at = Math.ceil(start / step) * step; at < end && found.length < 11; at += step) {
      const text = toText(at);
      const label = step < 60000 ? text.slice(11, 19)
        : step >= 86400000 ? text.slice(0, 10)
        : length <= 86400000 ? text.slice(11, 16) : text.slice(5, 16).replace('T', ' ');
      const percent = (at - start) / (end - start) * 100;
      if (percent >= 2.5 && percent <= 97.5) found.push([percent, label]);
    }
    return found;
  }

  function draw() {
    for (const { svg, height } of charts) {
      svg.setAttribute('viewBox', view.from + ' 0 ' + (view.until - view.from) + ' ' + height);
    }
    const found = labels();
    for (const axis of axes) {
      axis.replaceChildren(...found.map(([percent, label]) => {
        const text = document.createElementNS('http://www.w3.org/2000/svg', 'text');
        text.setAttribute('x', percent + '%');
        text.setAttribute('y', '12');
        text.textContent = label;
        return text;
      }));
    }
    one('#range').textContent = toText(timeAt(view.from)) + ' to ' + toText(timeAt(view.until));
  }

  function show(start, end) {
    const width = Math.min(Math.max(end - start, SMALLEST), WIDTH);
    view.from = Math.min(Math.max(start, 0), WIDTH - width);
    view.until = view.from + width;
    draw();
  }

  const moves = {
    in: (width) => show(view.from + width / 4, view.until - width / 4),
    out: (width) => show(view.from - width / 2, view.until + width / 2),
    left: (width) => show(view.from - width / 2, view.until - width / 2),
    right: (width) => show(view.from + width / 2, view.until + width / 2),
    all: () => show(0, WIDTH),
  };
  one('#zoom').hidden = false;
  one('#zoom').addEventListener('click', (event) => {
    const move = moves[event.target.dataset.zoom];
    if (move) move(view.until - view.from);
  });

  for (const { svg } of charts) {
    svg.addEventListener('dblclick', () => moves.all());
    svg.addEventListener('pointerdown', (down) => {
      if (down.button !== 0) return;
      const area = svg.getBoundingClientRect();
      const host = svg.closest('.tracks, .plot');
      const box = document.createElement('div');
      box.className = 'drag';
      const clamp = (x) => Math.min(Math.max(x, area.left), area.right);
      const start = clamp(down.clientX);
      let end = start;
      const move = (event) => {
        end = clamp(event.clientX);
        if (!box.isConnected && Math.abs(end - start) > 3) host.append(box);
        const left = host.getBoundingClientRect().left;
        box.style.left = Math.min(start, end) - left + 'px';
        box.style.width = Math.abs(end - start) + 'px';
      };
      const up = (event) => {
        box.remove();
        svg.removeEventListener('pointermove', move);
        svg.removeEventListener('pointerup', up);
        svg.removeEventListener('pointercancel', up);
        if (event.type === 'pointerup' && Math.abs(end - start) > 3) {
          const place = (x) => view.from + (x - area.left) / area.width * (view.until - view.from);
          show(place(Math.min(start, end)), place(Math.max(start, end)));
        }
      };
      svg.setPointerCapture(down.pointerId);
      svg.addEventListener('pointermove', move);
      svg.addEventListener('pointerup', up);
      svg.addEventListener('pointercancel', up);
      down.preventDefault();
    });
  }

  // What is folded is printed too.
  let opened = [];
  window.addEventListener('beforeprint', () => {
    opened = all('.group:not([open]), .table:not([open])');
    for (const details of opened) details.open = true;
  });
  window.addEventListener('afterprint', () => {
    for (const details of opened) details.open = false;
  });
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target && target.closest('.group')) target.closest('.group').open = true;
})();
