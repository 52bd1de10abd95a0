import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { integer } from '../model/format';
import { Layout } from '../model/layout';
import type { Topology } from '../model/topology';
import { PASSIVE_DRAWN_MAX, paint, paletteOf, radiusOf } from './paint';
import type { Palette } from './paint';

/** Time of one frame that may go into the layout: the rest is for drawing and for the reader's input. */
const LAYOUT_MS_MAX = 7;
const MARGIN = 44;
const ZOOM_MAX = 6;

interface Props {
  topology: Topology;
  changed: ReadonlySet<string>;
  selected: string | null;
  dark: boolean;
  onSelect: (name: string | null) => void;
}

/** What is behind the canvas: lives as long as it, and draws only when something moved. */
class Graph {
  private readonly layout = new Layout();
  private readonly context: CanvasRenderingContext2D;
  private palette: Palette;
  private props: Props;
  private hovered: number | null = null;
  private request = 0;
  private size = { width: 0, height: 0 };
  /** On top of the view that shows everything. */
  private zoom = 1;
  private pan = { x: 0, y: 0 };
  private readonly still = matchMedia('(prefers-reduced-motion: reduce)').matches;
  passive = true;

  constructor(private readonly canvas: HTMLCanvasElement, props: Props) {
    this.context = canvas.getContext('2d')!;
    this.props = props;
    this.palette = paletteOf(canvas);
    this.layout.update(props.topology);
    if (this.still) this.settle();
  }

  update(props: Props): void {
    if (props.topology !== this.props.topology) {
      this.layout.update(props.topology);
      this.hovered = null;
      if (this.still) this.settle();
    }
    // The theme is an attribute of the document, which is set after this.
    if (props.dark !== this.props.dark) {
      requestAnimationFrame(() => {
        this.palette = paletteOf(this.canvas);
        this.redraw();
      });
    }
    this.props = props;
    this.redraw();
  }

  resize(width: number, height: number): void {
    this.size = { width, height };
    const ratio = devicePixelRatio || 1;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.palette = paletteOf(this.canvas);
    this.draw();
  }

  stop(): void { cancelAnimationFrame(this.request); }

  redraw(): void {
    if (this.request === 0) this.request = requestAnimationFrame(() => this.frame());
  }

  reset(): void {
    this.zoom = 1;
    this.pan = { x: 0, y: 0 };
    this.redraw();
  }

  zoomBy(factor: number, x = this.size.width / 2, y = this.size.height / 2): void {
    const zoom = Math.min(ZOOM_MAX, Math.max(0.6, this.zoom * factor));
    const { scale, dx, dy } = this.view();
    const [wx, wy] = [(x - dx) / scale, (y - dy) / scale];
    this.zoom = zoom;
    const after = this.view();
    this.pan.x += x - (wx * after.scale + after.dx);
    this.pan.y += y - (wy * after.scale + after.dy);
    this.redraw();
  }

  panBy(x: number, y: number): void {
    this.pan.x += x;
    this.pan.y += y;
    this.redraw();
  }

  at(x: number, y: number): number | null {
    const { scale, dx, dy } = this.view();
    return this.layout.nearest((x - dx) / scale, (y - dy) / scale, (radiusOf(this.layout.spots.length) + 6) / scale);
  }

  hover(index: number | null): void {
    if (index === this.hovered) return;
    this.hovered = index;
    this.canvas.style.cursor = index === null ? 'grab' : 'pointer';
    this.redraw();
  }

  nameOf(index: number | null): string | null { return index === null ? null : this.props.topology.nodes[index]?.name ?? null; }

  /** The node that an arrow key leads to. */
  step(dx: number, dy: number): string | null {
    const { nodes } = this.props.topology;
    const from = nodes.findIndex((node) => node.name === this.props.selected);
    const start = from >= 0 ? from : nodes.findIndex((node) => node.self);
    if (from < 0) return this.nameOf(Math.max(0, start));
    return this.nameOf(this.layout.towards(from, dx, dy)) ?? this.props.selected;
  }

  /** Where a node is on the canvas, for tests that click it. */
  spot(name: string): { x: number; y: number } | null {
    const index = this.props.topology.nodes.findIndex((node) => node.name === name);
    const spot = this.layout.spots[index];
    const { scale, dx, dy } = this.view();
    return spot ? { x: spot.x * scale + dx, y: spot.y * scale + dy } : null;
  }

  private view(): { scale: number; dx: number; dy: number } {
    const box = this.layout.box();
    const { width, height } = this.size;
    const fit = Math.min((width - 2 * MARGIN) / Math.max(1, box.right - box.left), (height - 2 * MARGIN) / Math.max(1, box.bottom - box.top));
    const scale = Math.min(1.5, Math.max(0.05, fit)) * this.zoom;
    return {
      scale,
      dx: width / 2 - ((box.left + box.right) / 2) * scale + this.pan.x,
      dy: height / 2 - ((box.top + box.bottom) / 2) * scale + this.pan.y,
    };
  }

  private settle(): void {
    for (let tick = 0; tick < 300 && !this.layout.settled; ++tick) this.layout.tick();
  }

  private frame(): void {
    this.request = 0;
    const until = performance.now() + LAYOUT_MS_MAX;
    do {
      if (this.layout.settled) break;
      this.layout.tick();
    } while (performance.now() < until);
    this.draw();
    if (!this.layout.settled) this.redraw();
    this.canvas.dataset.settled = String(this.layout.settled);
  }

  private draw(): void {
    const { width, height } = this.size;
    if (width === 0 || height === 0) return;
    const { topology, changed, selected } = this.props;
    const index = selected === null ? -1 : topology.nodes.findIndex((node) => node.name === selected);
    paint(this.context, {
      topology, layout: this.layout, width, height, ratio: devicePixelRatio || 1, ...this.view(),
      selected: index < 0 ? null : index, hovered: this.hovered, changed, passive: this.passive,
    }, this.palette);
  }
}

function listen(canvas: HTMLCanvasElement, graph: Graph, select: (name: string | null) => void): () => void {
  let drag: { x: number; y: number; moved: boolean } | null = null;
  const place = (event: MouseEvent): [number, number] => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const down = (event: PointerEvent): void => {
    drag = { x: event.clientX, y: event.clientY, moved: false };
    canvas.setPointerCapture(event.pointerId);
  };
  const move = (event: PointerEvent): void => {
    if (!drag) {
      graph.hover(graph.at(...place(event)));
      return;
    }
    const [x, y] = [event.clientX - drag.x, event.clientY - drag.y];
    if (!drag.moved && Math.hypot(x, y) < 4) return;
    graph.panBy(x, y);
    drag = { x: event.clientX, y: event.clientY, moved: true };
  };
  const up = (event: PointerEvent): void => {
    if (drag && !drag.moved) select(graph.nameOf(graph.at(...place(event))));
    drag = null;
  };
  const leave = (): void => graph.hover(null);
  // Without Ctrl the wheel scrolls the page, unless the reader is in the graph.
  const wheel = (event: WheelEvent): void => {
    if (!event.ctrlKey && document.activeElement !== canvas) return;
    event.preventDefault();
    graph.zoomBy(Math.exp(-event.deltaY / 400), ...place(event));
  };
  const arrows: Record<string, [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const key = (event: KeyboardEvent): void => {
    const arrow = arrows[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (arrow) select(graph.step(...arrow));
    else if (event.key === 'Escape') select(null);
    else if (event.key === '+' || event.key === '=') graph.zoomBy(1.25);
    else if (event.key === '-') graph.zoomBy(0.8);
    else if (event.key === '0') graph.reset();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  canvas.addEventListener('pointerdown', down);
  canvas.addEventListener('pointermove', move);
  canvas.addEventListener('pointerup', up);
  canvas.addEventListener('pointerleave', leave);
  canvas.addEventListener('wheel', wheel, { passive: false });
  canvas.addEventListener('keydown', key);
  // The canvas itself goes with its listeners; what is left to end is the drawing.
  return () => graph.stop();
}

declare global {
  interface HTMLCanvasElement { spotOf?: (name: string) => { x: number; y: number } | null }
}

export function GraphView(props: Props): JSX.Element {
  const canvas = useRef<HTMLCanvasElement>(null);
  const graph = useRef<Graph | null>(null);
  const select = useRef(props.onSelect);
  select.current = props.onSelect;
  const [passive, setPassive] = useState(true);
  useEffect(() => {
    const element = canvas.current!;
    const made = new Graph(element, props);
    graph.current = made;
    element.spotOf = (name) => made.spot(name);
    const observer = new ResizeObserver(() => made.resize(element.clientWidth, element.clientHeight));
    observer.observe(element);
    made.redraw();
    const end = listen(element, made, (name) => select.current(name));
    return () => {
      observer.disconnect();
      end();
    };
  }, []);
  useEffect(() => {
    if (!graph.current) return;
    graph.current.passive = passive;
    graph.current.update(props);
  });
  const { topology } = props;
  const dead = topology.nodes.filter((node) => node.state !== 'alive').length;
  const alive = topology.nodes.length - dead;
  const links = topology.active.filter((link) => !link.stale).length;
  const hides = topology.passive.length > PASSIVE_DRAWN_MAX;
  return (
    <div class="graph">
      <canvas ref={canvas} tabIndex={0} role="img" aria-describedby="graph-help"
        aria-label={`Graph of the cluster: ${alive} nodes alive, ${dead} not, ${links} active links. The table of members has the same facts.`} />
      <div class="graph-tools">
        <button type="button" aria-label="Zoom in" title="Zoom in (+)" onClick={() => graph.current?.zoomBy(1.25)}>+</button>
        <button type="button" aria-label="Zoom out" title="Zoom out (-)" onClick={() => graph.current?.zoomBy(0.8)}>−</button>
        <button type="button" aria-label="Show all" title="Show all (0)" onClick={() => graph.current?.reset()}>⤢</button>
      </div>
      <ul class="legend" aria-label="Legend">
        <li class="kind kind-cpp"><span class="mark" />C++</li>
        <li class="kind kind-erlang"><span class="mark" />Erlang</li>
        {topology.nodes.some((node) => node.kind === 'unknown') && <li class="kind kind-unknown"><span class="mark" />unknown</li>}
        <li><span class="self-mark" />this node</li>
        <li class="state-down"><span class="mark" />not alive</li>
        <li><span class="line" />active {integer(links)}</li>
        <li>
          <label><input type="checkbox" checked={passive} onChange={(event) => setPassive(event.currentTarget.checked)} />
            <span class="line line-passive" />passive {integer(topology.passive.length)}{hides && ', of the chosen node'}</label>
        </li>
      </ul>
      <p id="graph-help" class="visually-hidden">
        Arrow keys choose the next node in their direction, plus and minus zoom, 0 shows all, Escape chooses none.
      </p>
    </div>
  );
}
