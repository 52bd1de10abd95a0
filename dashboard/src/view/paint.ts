// Draws the graph on a canvas. Kinds differ by shape as well as by colour: C++ nodes are discs, Erlang nodes diamonds,
// others squares; a node that does not live is hollow and crossed out.
import type { ClusterNode } from '../model/api';
import type { Layout, Spot } from '../model/layout';
import type { Link, Topology } from '../model/topology';

export interface Frame {
  topology: Topology;
  layout: Layout;
  width: number;
  height: number;
  ratio: number;
  scale: number;
  dx: number;
  dy: number;
  selected: number | null;
  hovered: number | null;
  changed: ReadonlySet<string>;
  passive: boolean;
}

export interface Palette {
  text: string; muted: string; surface: string; link: string; passive: string; accent: string;
  cpp: string; erlang: string; unknown: string; bad: string; warn: string; font: string;
}

export function paletteOf(element: Element): Palette {
  const style = getComputedStyle(element);
  const get = (name: string): string => style.getPropertyValue(`--${name}`).trim();
  return {
    text: get('text'), muted: get('muted'), surface: get('surface'), link: get('link'), passive: get('passive'), accent: get('accent'),
    cpp: get('cpp'), erlang: get('erlang'), unknown: get('unknown'), bad: get('bad'), warn: get('warn'), font: style.fontFamily,
  };
}

/** Passive links are many times more than active ones; beyond this only those of the chosen node are drawn. */
export const PASSIVE_DRAWN_MAX = 3000;
const LABELS_MAX = 60;
/** One path of thousands of crossing lines takes longer to fill than many short ones. */
const LINES_AT_ONCE = 50;

export const radiusOf = (nodes: number): number => (nodes > 400 ? 4 : nodes > 100 ? 5.5 : nodes > 40 ? 7 : 10);

export function paint(context: CanvasRenderingContext2D, frame: Frame, palette: Palette): void {
  const { topology, layout, scale, dx, dy } = frame;
  const focus = frame.selected ?? frame.hovered;
  const near = new Set(focus === null ? [] : [focus, ...(topology.neighbours[focus] ?? [])]);
  context.setTransform(frame.ratio, 0, 0, frame.ratio, 0, 0);
  context.clearRect(0, 0, frame.width, frame.height);
  const at = (index: number): [number, number] => {
    const spot = layout.spots[index] as Spot;
    return [spot.x * scale + dx, spot.y * scale + dy];
  };
  const lines = (links: Link[], color: string, width: number, alpha: number, dash: number[] = []): void => {
    context.strokeStyle = color;
    context.lineWidth = width;
    context.globalAlpha = alpha;
    context.setLineDash(dash);
    for (let from = 0; from < links.length; from += LINES_AT_ONCE) {
      context.beginPath();
      for (const link of links.slice(from, from + LINES_AT_ONCE)) {
        context.moveTo(...at(link.source));
        context.lineTo(...at(link.target));
      }
      context.stroke();
    }
    context.setLineDash([]);
  };
  const touches = (link: Link): boolean => link.source === focus || link.target === focus;

  const many = topology.nodes.length > 100;
  const live = topology.active.filter((link) => !link.stale);
  const stale = topology.active.filter((link) => link.stale);
  if (frame.passive) {
    const all = topology.passive.length <= PASSIVE_DRAWN_MAX ? topology.passive : [];
    lines(all.filter((link) => !link.stale), palette.passive, 1, focus === null ? 0.7 : 0.2);
    if (focus !== null) lines(topology.passive.filter(touches), palette.passive, 1.2, 1);
  }
  lines(stale, palette.bad, 1, focus === null ? 0.55 : 0.2, [3, 4]);
  lines(live, palette.link, many ? 1 : 1.8, focus === null ? (many ? 0.38 : 0.9) : many ? 0.16 : 0.35);
  if (focus !== null) lines(live.filter(touches), palette.accent, many ? 1.6 : 2.4, 1);

  const radius = radiusOf(topology.nodes.length) * Math.min(1.6, Math.max(0.7, Math.sqrt(scale)));
  const plain = (node: ClusterNode, index: number): boolean =>
    node.state === 'alive' && !node.self && index !== frame.selected && !frame.changed.has(node.name) && !near.has(index);
  context.globalAlpha = focus === null ? 1 : 0.35;
  drawPlain(context, topology.nodes.map((node, index) => ({ node, index })).filter(({ node, index }) => plain(node, index)), at, radius, palette);
  topology.nodes.forEach((node, index) => {
    if (plain(node, index)) return;
    context.globalAlpha = focus === null || near.has(index) ? 1 : 0.35;
    drawNode(context, node, ...at(index), radius, palette, { selected: index === frame.selected, changed: frame.changed.has(node.name) });
  });
  context.globalAlpha = 1;
  labels(context, frame, palette, near, radius, at);
}

function outline(context: CanvasRenderingContext2D, kind: ClusterNode['kind'], x: number, y: number, radius: number): void {
  if (kind === 'cpp') {
    context.moveTo(x + radius, y);
    context.arc(x, y, radius, 0, 2 * Math.PI);
  } else if (kind === 'erlang') {
    const reach = radius * 1.25;
    context.moveTo(x, y - reach);
    context.lineTo(x + reach, y);
    context.lineTo(x, y + reach);
    context.lineTo(x - reach, y);
    context.closePath();
  } else {
    const side = radius * 0.88;
    context.rect(x - side, y - side, 2 * side, 2 * side);
  }
}

function shape(context: CanvasRenderingContext2D, kind: ClusterNode['kind'], x: number, y: number, radius: number): void {
  context.beginPath();
  outline(context, kind, x, y, radius);
}

/** Those that live and of which nothing more is to be said: nearly all, so a few strokes for many of them. */
function drawPlain(context: CanvasRenderingContext2D, nodes: { node: ClusterNode; index: number }[], at: (index: number) => [number, number],
                   radius: number, palette: Palette): void {
  context.strokeStyle = palette.surface;
  context.lineWidth = 1;
  for (const kind of ['unknown', 'cpp', 'erlang'] as const) {
    const ones = nodes.filter(({ node }) => node.kind === kind);
    context.fillStyle = palette[kind];
    for (let from = 0; from < ones.length; from += LINES_AT_ONCE) {
      context.beginPath();
      for (const { index } of ones.slice(from, from + LINES_AT_ONCE)) outline(context, kind, ...at(index), radius);
      context.fill();
      context.stroke();
    }
  }
}

function drawNode(context: CanvasRenderingContext2D, node: ClusterNode, x: number, y: number, radius: number, palette: Palette,
                  { selected, changed }: { selected: boolean; changed: boolean }): void {
  const alive = node.state === 'alive';
  if (selected || changed) {
    context.strokeStyle = selected ? palette.accent : alive ? palette.warn : palette.bad;
    context.lineWidth = 2;
    shape(context, node.kind, x, y, radius + 6);
    context.stroke();
  }
  if (node.self) {
    context.strokeStyle = palette.text;
    context.lineWidth = 1.6;
    shape(context, node.kind, x, y, radius + 3.2);
    context.stroke();
  }
  shape(context, node.kind, x, y, radius);
  if (alive) {
    context.fillStyle = palette[node.kind];
    context.fill();
    context.strokeStyle = palette.surface;
    context.lineWidth = 1;
    context.stroke();
    return;
  }
  context.fillStyle = palette.surface;
  context.fill();
  context.strokeStyle = node.state === 'left' ? palette.muted : palette.bad;
  context.lineWidth = 1.6;
  context.stroke();
  const arm = radius * 0.5;
  context.beginPath();
  context.moveTo(x - arm, y - arm);
  context.lineTo(x + arm, y + arm);
  context.moveTo(x + arm, y - arm);
  context.lineTo(x - arm, y + arm);
  context.stroke();
}

function labels(context: CanvasRenderingContext2D, frame: Frame, palette: Palette, near: Set<number>, radius: number,
                at: (index: number) => [number, number]): void {
  const { topology } = frame;
  const all = topology.nodes.length <= LABELS_MAX;
  const focus = frame.selected ?? frame.hovered;
  context.textAlign = 'center';
  context.textBaseline = 'top';
  context.lineJoin = 'round';
  topology.nodes.forEach((node, index) => {
    const chosen = index === frame.selected || index === frame.hovered;
    const shown = all || chosen || node.self || near.has(index) || (frame.changed.has(node.name) && frame.changed.size <= 8);
    if (!shown) return;
    const [x, y] = at(index);
    context.globalAlpha = focus === null || near.has(index) || node.self ? 1 : 0.45;
    context.font = `${chosen || node.self ? '600 ' : ''}12px ${palette.font}`;
    context.strokeStyle = palette.surface;
    context.lineWidth = 4;
    context.strokeText(node.name, x, y + radius + 5);
    context.fillStyle = node.state === 'alive' ? palette.text : palette.bad;
    context.fillText(node.name, x, y + radius + 5);
  });
  context.globalAlpha = 1;
}
