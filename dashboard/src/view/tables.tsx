// The views that are a table with a filter: members, services, leaders, reminders.
import type { JSX } from 'preact';
import { useContext, useMemo, useState } from 'preact/hooks';
import type { ClusterNode, Leader, Reminder, Service, State } from '../model/api';
import { duration, integer, moment } from '../model/format';
import { StoreContext, useClock, useStore } from './hooks';
import { Card, Empty, KindBadge, NodeName, Search, StateBadge, Table } from './parts';
import type { Column } from './parts';

const contains = (wanted: string, ...texts: string[]): boolean => {
  const lower = wanted.trim().toLowerCase();
  return lower === '' || texts.some((text) => text.toLowerCase().includes(lower));
};

interface MemberRow { node: ClusterNode; services: number; partitions: number }

function countsOf(state: State): { services: Map<string, number>; partitions: Map<string, number> } {
  const services = new Map<string, number>();
  for (const one of state.services) services.set(one.node, (services.get(one.node) ?? 0) + 1);
  const partitions = new Map<string, number>();
  for (const owner of state.placement.owners) {
    const name = owner === null ? undefined : state.placement.members[owner];
    if (name !== undefined) partitions.set(name, (partitions.get(name) ?? 0) + 1);
  }
  return { services, partitions };
}

const size = (list: string[] | null): number => list?.length ?? -1;
const sizeText = (list: string[] | null): JSX.Element | string => (list === null ? <span class="muted">?</span> : integer(list.length));

const memberColumns: Column<MemberRow>[] = [
  { title: 'Node', sort: ({ node }) => node.name, wide: true,
    cell: ({ node }) => <><NodeLink name={node.name} />{node.self && <span class="tag">this node</span>}</> },
  // The worst first when sorted downwards.
  { title: 'State', sort: ({ node }) => ['alive', 'left', 'gone', 'down'].indexOf(node.state), cell: ({ node }) => <StateBadge state={node.state} /> },
  { title: 'Kind', sort: ({ node }) => node.kind, cell: ({ node }) => <KindBadge kind={node.kind} /> },
  { title: 'Connected', sort: ({ node }) => Number(node.connected), cell: ({ node }) => (node.self ? '–' : node.connected ? 'yes' : 'no') },
  { title: 'Active', number: true, sort: ({ node }) => size(node.active), cell: ({ node }) => sizeText(node.active) },
  { title: 'Passive', number: true, sort: ({ node }) => size(node.passive), cell: ({ node }) => sizeText(node.passive) },
  { title: 'Services', number: true, sort: ({ services }) => services, cell: ({ services }) => integer(services) },
  { title: 'Partitions', number: true, sort: ({ partitions }) => partitions, cell: ({ partitions }) => integer(partitions) },
  { title: 'Knowledge', number: true, sort: ({ node }) => node.age_ms,
    cell: ({ node }) => (node.self ? '–' : `${duration(node.age_ms)} old`) },
];

/** A node's name that opens it beside the graph. */
export function NodeLink({ name }: { name: string }): JSX.Element {
  const store = useContext(StoreContext);
  if (name === '') return <span class="muted">none</span>;
  return <NodeName name={name} onSelect={(one) => {
    store.select(one);
    location.hash = '#/overview';
  }} />;
}

export function Members({ state }: { state: State }): JSX.Element {
  const [{ nodes, changed }] = useStore();
  const [filter, setFilter] = useState('');
  const [only, setOnly] = useState('');
  const rows = useMemo(() => {
    const { services, partitions } = countsOf(state);
    return nodes
      .filter((node) => contains(filter, node.name) && (only === '' || (only === 'dead' ? node.state !== 'alive' : node.kind === only)))
      .map((node): MemberRow => ({ node, services: services.get(node.name) ?? 0, partitions: partitions.get(node.name) ?? 0 }));
  }, [nodes, state, filter, only]);
  return (
    <Card title="Members" note={`${integer(rows.length)} of ${integer(nodes.length)}`} tools={<>
      <Search label="Filter by name" value={filter} onInput={setFilter} />
      <select aria-label="Which nodes" value={only} onChange={(event) => setOnly(event.currentTarget.value)}>
        <option value="">All nodes</option><option value="cpp">C++</option><option value="erlang">Erlang</option><option value="dead">Not alive</option>
      </select></>}>
      <Table label="Members" rows={rows} columns={memberColumns} keyOf={({ node }) => node.name}
        rowClass={({ node }) => `${node.state === 'alive' ? '' : 'row-dead'} ${changed.has(node.name) ? 'row-changed' : ''}`}
        empty={<Empty what="No node matches">Clear the filter to see all {integer(nodes.length)} nodes.</Empty>} />
    </Card>
  );
}

const serviceColumns: Column<Service>[] = [
  { title: 'Service', sort: (one) => one.name, cell: (one) => <code>{one.name}</code> },
  { title: 'Node', sort: (one) => one.node, cell: (one) => <NodeLink name={one.node} /> },
  { title: 'Process', sort: (one) => one.pid, cell: (one) => <code>{one.pid}</code> },
  { title: 'Meta', wide: true, cell: (one) => <code class="muted">{one.meta}</code> },
];

export function Services({ state }: { state: State }): JSX.Element {
  const [filter, setFilter] = useState('');
  const { services, services_total } = state;
  const rows = useMemo(() => services.filter((one) => contains(filter, one.name, one.node, one.pid, one.meta)), [services, filter]);
  return (
    <Card title="Services" note={services_total > services.length ? `the first ${integer(services.length)} of ${integer(services_total)}`
      : `${integer(rows.length)} of ${integer(services.length)}`} tools={<Search label="Filter services" value={filter} onInput={setFilter} />}>
      <Table label="Services" rows={rows} columns={serviceColumns} keyOf={(one) => `${one.name} ${one.node} ${one.pid}`}
        empty={services.length === 0
          ? <Empty what="No service is registered">A program registers one with <code>Process::register_service</code> (C++) or{' '}
            <code>barrel_p2p:register_service/2</code> (Erlang); all nodes see it within a moment.</Empty>
          : <Empty what="No service matches">Clear the filter to see all of them.</Empty>} />
    </Card>
  );
}

const leaderColumns: Column<Leader>[] = [
  { title: 'Role', sort: (one) => one.role, cell: (one) => <code>{one.role}</code> },
  { title: 'Leader', sort: (one) => one.node, wide: true, cell: (one) => (one.node === '' ? <span class="state state-down"><span class="mark" />nobody leads</span>
    : <><NodeLink name={one.node} />{one.here && <span class="tag">this node</span>}</>) },
  { title: 'Process', cell: (one) => <code>{one.pid}</code> },
  { title: 'Fence', number: true, sort: (one) => one.fence, cell: (one) => <code>{one.fence}</code> },
  { title: 'Candidates', number: true, sort: (one) => one.candidates, cell: (one) => integer(one.candidates) },
];

export const Leaders = ({ state }: { state: State }): JSX.Element => (
  <Card title="Leaders" note={`${integer(state.leaders.length)} roles`}>
    <Table label="Leaders" rows={state.leaders} columns={leaderColumns} keyOf={(one) => one.role}
      empty={<Empty what="Nobody campaigns for a role">A process that calls <code>campaign</code> makes its role appear here, with the node that leads
        and the fence that keeps an old leader out.</Empty>} />
  </Card>
);

function Due({ due }: { due: number }): JSX.Element {
  const wait = due - useClock();
  return wait >= 0 ? <>in {duration(wait)}</> : <span class="warn">{duration(-wait)} overdue</span>;
}

const reminderColumns: Column<Reminder>[] = [
  { title: 'Due', sort: (one) => one.due, cell: (one) => <Due due={one.due} /> },
  { title: 'At', sort: (one) => one.due, cell: (one) => <time>{moment(one.due)}</time> },
  { title: 'Key', sort: (one) => one.key, wide: true, cell: (one) => <code>{one.key}</code> },
  { title: 'Told by', sort: (one) => Number(one.here), cell: (one) => (one.here ? <span class="tag">this node</span> : 'another node') },
];

export function Reminders({ state }: { state: State }): JSX.Element {
  const { next, pending } = state.reminders;
  const [filter, setFilter] = useState('');
  const rows = useMemo(() => next.filter((one) => contains(filter, one.key)), [next, filter]);
  return (
    <Card title="Reminders" note={pending > next.length ? `the next ${integer(next.length)} of ${integer(pending)}` : `${integer(pending)} pending`}
      tools={<Search label="Filter by key" value={filter} onInput={setFilter} />}>
      <Table label="Reminders" rows={rows} columns={reminderColumns} keyOf={(one) => one.key}
        empty={next.length === 0
          ? <Empty what="No reminder is pending">A program that calls <code>remind</code> with a key and a time makes one appear here.</Empty>
          : <Empty what="No reminder matches">Clear the filter to see the next {integer(next.length)}.</Empty>} />
    </Card>
  );
}
