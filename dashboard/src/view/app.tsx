import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { State } from '../model/api';
import { clock, duration, integer } from '../model/format';
import type { Link } from '../model/sse';
import { Events } from './events';
import { hrefOf, useClock, useRoute, useStore, useTheme, views } from './hooks';
import type { Theme, View } from './hooks';
import { Maps } from './maps';
import { Overview } from './overview';
import { Peers } from './peers';
import { Ring } from './ring';
import { Leaders, Members, Reminders, Services } from './tables';

const titles: Record<View, string> = {
  overview: 'Overview', members: 'Members', services: 'Services', leaders: 'Leaders', ring: 'Ring', maps: 'Maps', reminders: 'Reminders',
  peers: 'Peers', events: 'Events',
};

function LinkState({ link, onRetry }: { link: Link; onRetry: () => void }): JSX.Element {
  const now = useClock();
  switch (link.phase) {
    case 'connecting': return <span class="link link-wait" role="status"><span class="mark" />Connecting</span>;
    case 'live': return <span class="link link-live" role="status"><span class="mark" />Live</span>;
    case 'polling': return <span class="link link-wait" role="status"
      title="The node serves no more live pages; this one asks every two seconds and shows no new events."><span class="mark" />Every 2 s</span>;
    case 'lost': return (
      <span class="link link-lost" role="status"><span class="mark" />Disconnected since {clock(link.since)}
        <span class="link-more">, {link.reason}; next try {link.retryAt > now ? `in ${duration(Math.max(1000, link.retryAt - now))}` : 'now'}</span>
        <button type="button" onClick={onRetry}>Try now</button></span>);
    case 'denied': return <span class="link link-lost" role="status"><span class="mark" />Not allowed: {link.reason}</span>;
  }
}

function ThemeSwitch({ theme, choose }: { theme: Theme; choose: (theme: Theme) => void }): JSX.Element {
  const choices: [Theme, string, string][] = [['auto', 'Auto', 'As the system'], ['light', 'Light', 'Light'], ['dark', 'Dark', 'Dark']];
  return (
    <div class="toggles" role="group" aria-label="Colours">{choices.map(([value, short, title]) => (
      <button key={value} type="button" title={title} aria-pressed={theme === value} onClick={() => choose(value)}>{short}</button>))}</div>
  );
}

function Health({ state }: { state: State }): JSX.Element {
  const { live, ready, reasons } = state.health;
  const word = !live ? 'Not live' : ready ? 'Ready' : 'Not ready';
  return (
    <span class={`health ${live && ready ? 'health-good' : 'health-bad'}`}>
      <span class="mark" aria-hidden="true" />{word}{reasons.length > 0 && <span class="health-why">: {reasons.slice(0, 3).join('; ')}</span>}
    </span>
  );
}

function Navigation({ view, counts }: { view: View; counts: Partial<Record<View, number>> }): JSX.Element {
  return (
    <nav class="nav" aria-label="Views">
      <ul>{views.map((one, at) => (
        <li key={one}><a href={hrefOf(one)} aria-current={one === view ? 'page' : undefined} title={`${titles[one]} (${at + 1})`}>
          {titles[one]}{counts[one] !== undefined && <span class="count">{integer(counts[one])}</span>}</a></li>))}</ul>
    </nav>
  );
}

function Help({ onClose }: { onClose: () => void }): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => { dialog.current?.showModal(); }, []);
  return (
    <dialog ref={dialog} class="help" aria-label="Keys" onClose={onClose}>
      <h2>Keys</h2>
      <dl>
        <dt><kbd>1</kbd> to <kbd>9</kbd></dt><dd>the views</dd>
        <dt><kbd>/</kbd></dt><dd>the filter of the view</dd>
        <dt><kbd>←</kbd> <kbd>→</kbd> <kbd>↑</kbd> <kbd>↓</kbd></dt><dd>in the graph: the next node there</dd>
        <dt><kbd>+</kbd> <kbd>-</kbd> <kbd>0</kbd></dt><dd>in the graph: closer, farther, all</dd>
        <dt><kbd>Esc</kbd></dt><dd>no node chosen</dd>
        <dt><kbd>?</kbd></dt><dd>this list</dd>
      </dl>
      <form method="dialog"><button>Close</button></form>
    </dialog>
  );
}

/** Keys that work everywhere but where text is typed. */
function useKeys(openHelp: () => void): void {
  useEffect(() => {
    const key = (event: KeyboardEvent): void => {
      const target = event.target as HTMLElement;
      if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName)) return;
      const view = views[Number(event.key) - 1];
      if (view) location.hash = hrefOf(view);
      else if (event.key === '?') openHelp();
      else if (event.key === '/') document.querySelector<HTMLInputElement>('main .search')?.focus();
      else return;
      event.preventDefault();
    };
    addEventListener('keydown', key);
    return () => removeEventListener('keydown', key);
  }, []);
}

function Content({ view, argument, state, dark }: { view: View; argument: string; state: State; dark: boolean }): JSX.Element {
  switch (view) {
    case 'overview': return <Overview state={state} dark={dark} />;
    case 'members': return <Members state={state} />;
    case 'services': return <Services state={state} />;
    case 'leaders': return <Leaders state={state} />;
    case 'ring': return <Ring state={state} dark={dark} />;
    case 'maps': return <Maps state={state} argument={argument} />;
    case 'reminders': return <Reminders state={state} />;
    case 'peers': return <Peers state={state} dark={dark} />;
    case 'events': return <Events />;
  }
}

function Waiting({ link }: { link: Link }): JSX.Element {
  if (link.phase === 'denied') {
    return <div class="empty"><strong>This node wants a token</strong><p>Open this page once with <code>?token=TOKEN</code> behind its address; the token is
      the one of <code>admin.token</code> in the node's configuration.</p></div>;
  }
  if (link.phase === 'lost') {
    return <div class="empty"><strong>The node does not answer</strong><p>Is it running? This page goes on trying and shows the cluster as soon as it can.</p></div>;
  }
  return <div class="empty"><strong>Waiting for the first state of the cluster</strong></div>;
}

export function App(): JSX.Element {
  const [{ state, nodes, log, link, announcement }, store] = useStore();
  const { view, argument } = useRoute();
  const { theme, dark, choose } = useTheme();
  const [help, setHelp] = useState(false);
  useKeys(() => setHelp(true));
  useEffect(() => { document.title = state ? `${titles[view]} · ${state.node.name}` : 'barrel_p2p'; }, [view, state?.node.name]);
  const counts: Partial<Record<View, number>> = state ? {
    members: nodes.length, services: state.services_total, leaders: state.leaders.length, ring: state.placement.partitions, maps: state.maps.length,
    reminders: state.reminders.pending, peers: state.peers.length, events: log.length,
  } : {};
  const stale = state !== null && (link.phase === 'lost' || link.phase === 'denied');
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => {
        event.preventDefault();
        document.getElementById('main')?.focus();
      }}>To the content</a>
      <header class="top">
        <span class="brand">barrel_p2p</span>
        {state && <><span class="node-name">{state.node.name}</span><Health state={state} />
          <span class="facts">{state.node.version} · port {state.node.port} · up {duration(state.node.uptime_ms)}</span></>}
        <span class="spring" />
        <LinkState link={link} onRetry={() => store.live.retry()} />
        <ThemeSwitch theme={theme} choose={choose} />
        <button type="button" aria-label="Keys" title="Keys (?)" onClick={() => setHelp(true)}>?</button>
      </header>
      <Navigation view={view} counts={counts} />
      <main id="main" tabIndex={-1} class={stale ? 'stale' : ''} data-view={view}>
        <h1 class="visually-hidden">{titles[view]}</h1>
        {state ? <Content view={view} argument={argument} state={state} dark={dark} /> : <Waiting link={link} />}
      </main>
      <div class="visually-hidden" role="status" aria-live="polite">{announcement}</div>
      {help && <Help onClose={() => setHelp(false)} />}
    </>
  );
}
