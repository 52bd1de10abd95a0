import type { JSX } from 'preact';
import { useContext } from 'preact/hooks';
import type { ClusterNode, LogEntry, State } from '../model/api';
import { clock, duration, integer } from '../model/format';
import { GraphView } from './graph';
import { StoreContext, hrefOf, useStore } from './hooks';
import type { View } from './hooks';
import { Card, Empty, KindBadge, NodeName, StateBadge } from './parts';

const RECENT = 14;

function Tile({ title, value, detail, view, bad = false }: {
  title: string; value: string; detail: string; view: View; bad?: boolean;
}): JSX.Element {
  return (
    <a class={`tile ${bad ? 'tile-bad' : ''}`} href={hrefOf(view)}>
      <span class="tile-title">{title}</span><span class="tile-value">{value}</span><span class="tile-detail">{detail}</span>
    </a>
  );
}

function Tiles({ state, nodes, links }: { state: State; nodes: ClusterNode[]; links: number }): JSX.Element {
  const alive = nodes.filter((node) => node.state === 'alive');
  const down = nodes.filter((node) => node.state === 'down' || node.state === 'gone').length;
  const kinds = ['cpp', 'erlang'].map((kind) => alive.filter((node) => node.kind === kind).length);
  const here = state.placement.members.indexOf(state.node.name);
  const owned = here < 0 ? 0 : state.placement.owners.filter((owner) => owner === here).length;
  const led = state.leaders.filter((leader) => leader.node !== '').length;
  return (
    <div class="tiles">
      <Tile view="members" title="Members alive" value={integer(alive.length)} bad={down > 0}
        detail={down > 0 ? `${integer(down)} down of ${integer(nodes.length)}` : `${integer(kinds[0]!)} C++ · ${integer(kinds[1]!)} Erlang`} />
      <Tile view="peers" title="Connected peers" value={integer(state.peers.length)} detail={`${integer(links)} links in all`} />
      <Tile view="services" title="Services" value={integer(state.services_total)}
        detail={`on ${integer(new Set(state.services.map((one) => one.node)).size)} nodes`} />
      <Tile view="leaders" title="Roles led" value={`${integer(led)}/${integer(state.leaders.length)}`} bad={led < state.leaders.length}
        detail={`${integer(state.leaders.filter((one) => one.here).length)} by this node`} />
      <Tile view="ring" title="Partitions here" value={integer(owned)} detail={`of ${integer(state.placement.partitions)}`} />
      <Tile view="maps" title="Map entries" value={integer(state.maps.reduce((sum, map) => sum + map.size, 0))}
        detail={`in ${integer(state.maps.length)} maps`} />
      <Tile view="reminders" title="Reminders" value={integer(state.reminders.pending)} detail="pending" />
    </div>
  );
}

function Detail({ node, state, neighbours }: { node: ClusterNode; state: State; neighbours: string[] }): JSX.Element {
  const store = useContext(StoreContext);
  const services = state.services.filter((one) => one.node === node.name);
  const roles = state.leaders.filter((one) => one.node === node.name);
  const place = state.placement.members.indexOf(node.name);
  const owned = place < 0 ? 0 : state.placement.owners.filter((owner) => owner === place).length;
  const peer = state.peers.find((one) => one.name === node.name);
  const names = (title: string, list: string[] | null, otherwise: string): JSX.Element => (
    <>
      <dt>{title}{list && ` ${integer(list.length)}`}</dt>
      <dd>{list === null ? <span class="muted">{otherwise}</span> : list.length === 0 ? <span class="muted">none</span>
        : <span class="names">{list.slice(0, 40).map((name) => <NodeName key={name} name={name} onSelect={(one) => store.select(one)} />)}
          {list.length > 40 && <span class="muted">and {integer(list.length - 40)} more</span>}</span>}</dd>
    </>
  );
  return (
    <Card title={node.name} class="detail" tools={<button type="button" onClick={() => store.select(null)}>Close</button>}>
      <p class="badges"><StateBadge state={node.state} /><KindBadge kind={node.kind} />
        {node.self && <span class="tag">this node</span>}{!node.self && node.connected && <span class="tag">connected</span>}</p>
      <dl>
        {names('Active view', node.active, node.state === 'alive' ? 'not told yet' : 'none: it is not alive')}
        {names('Passive view', node.passive, 'not told')}
        {neighbours.length > 0 && node.active === null && names('In the active view of', neighbours, '')}
        <dt>Services</dt><dd>{services.length === 0 ? <span class="muted">none</span> : services.slice(0, 12).map((one) => one.name).join(', ')}
          {services.length > 12 && ` and ${services.length - 12} more`}</dd>
        <dt>Leads</dt><dd>{roles.length === 0 ? <span class="muted">nothing</span> : roles.map((one) => one.role).join(', ')}</dd>
        <dt>Partitions</dt><dd>{integer(owned)} of {integer(state.placement.partitions)}</dd>
        {peer && <><dt>Round trip</dt><dd>{peer.rtt_ms.toFixed(2)} ms, at least {peer.rtt_min_ms.toFixed(2)} ms</dd>
          <dt>Address</dt><dd>{peer.address}</dd></>}
        <dt>Knowledge</dt><dd>{node.self ? 'its own' : `${duration(node.age_ms)} old`}</dd>
      </dl>
    </Card>
  );
}

function Recent({ log }: { log: LogEntry[] }): JSX.Element {
  return (
    <Card title="Latest events" class="recent" tools={<a href={hrefOf('events')}>All events</a>}>
      {log.length === 0
        ? <Empty what="Nothing happened yet">Connections, refusals and losses appear here with their reasons.</Empty>
        : <ol class="feed">{log.slice(-RECENT).reverse().map((entry, at) => (
          <li key={`${entry.time}-${at}`} class={`severity-${entry.severity}`}>
            <time>{clock(entry.time)}</time>
            <span class="feed-text">{entry.text || entry.kind}{entry.reason !== '' && !entry.text.includes(entry.reason)
              && <span class="muted"> {entry.reason}</span>}</span>
          </li>))}</ol>}
    </Card>
  );
}

export function Overview({ state, dark }: { state: State; dark: boolean }): JSX.Element {
  const [{ nodes, topology, log, changed, selected }, store] = useStore();
  const index = selected === null ? -1 : topology.nodes.findIndex((node) => node.name === selected);
  const node = topology.nodes[index];
  const alone = nodes.length <= 1;
  const links = topology.active.filter((link) => !link.stale).length;
  return (
    <>
      <Tiles state={state} nodes={nodes} links={links} />
      <div class="columns">
        <Card title="Topology" class="topology" note={alone ? 'Alone so far. Start a second node: barrel_p2p node --name b@host --join '
          + `${state.node.name}` : undefined}>
          <GraphView topology={topology} changed={changed} selected={selected} dark={dark} onSelect={(name) => store.select(name)} />
        </Card>
        <div class="side">
          {node ? <Detail node={node} state={state} neighbours={(topology.neighbours[index] ?? []).map((at) => topology.nodes[at]!.name)} />
            : <p class="hint">Click a node, or focus the graph and use the arrow keys, to see what it knows and does.</p>}
          <Recent log={log} />
        </div>
      </div>
    </>
  );
}
