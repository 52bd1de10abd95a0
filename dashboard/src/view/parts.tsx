// Small things that all views use.
import type { ComponentChildren, JSX } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import type { NodeKind, NodeState } from '../model/api';
import { integer } from '../model/format';

export const kindName: Record<NodeKind, string> = { cpp: 'C++', erlang: 'Erlang', unknown: 'unknown' };
export const stateName: Record<NodeState, string> = { alive: 'alive', down: 'down', left: 'left', gone: 'gone' };

export const KindBadge = ({ kind }: { kind: NodeKind }): JSX.Element => (
  <span class={`kind kind-${kind}`}><span class="mark" aria-hidden="true" />{kindName[kind]}</span>
);

export const StateBadge = ({ state }: { state: NodeState }): JSX.Element => (
  <span class={`state state-${state}`}><span class="mark" aria-hidden="true" />{stateName[state]}</span>
);

export function Card({ title, note, tools, children, class: extra = '' }: {
  title: string; note?: ComponentChildren; tools?: ComponentChildren; children: ComponentChildren; class?: string;
}): JSX.Element {
  return (
    <section class={`card ${extra}`} aria-label={title}>
      <header class="card-head">
        <h2>{title}</h2>
        {note !== undefined && <span class="note">{note}</span>}
        {tools !== undefined && <div class="tools">{tools}</div>}
      </header>
      {children}
    </section>
  );
}

export const Empty = ({ what, children }: { what: string; children: ComponentChildren }): JSX.Element => (
  <div class="empty"><strong>{what}</strong><p>{children}</p></div>
);

export function Search({ label, value, onInput }: { label: string; value: string; onInput: (text: string) => void }): JSX.Element {
  return <input class="search" type="search" aria-label={label} placeholder={label} value={value} spellcheck={false}
    autocomplete="off" onInput={(event) => onInput(event.currentTarget.value)} />;
}

export interface Column<Row> {
  title: string;
  cell: (row: Row) => ComponentChildren;
  /** Without it the column cannot be sorted. */
  sort?: (row: Row) => string | number;
  number?: boolean;
  /** Takes what width is left, and breaks long words. */
  wide?: boolean;
}

const PAGE = 50;
const collator = new Intl.Collator('en', { numeric: true });

function compare(one: string | number, other: string | number): number {
  if (typeof one === 'number' && typeof other === 'number') return one - other;
  return collator.compare(String(one), String(other));
}

/** A table that sorts by its heads and shows 50 rows at a time, so that thousands cost nothing. */
export function Table<Row>({ label, rows, columns, keyOf, rowClass, onRow, selected, empty, initial = 0, descending = false }: {
  label: string;
  rows: Row[];
  columns: Column<Row>[];
  keyOf: (row: Row) => string;
  rowClass?: (row: Row) => string;
  onRow?: (row: Row) => void;
  selected?: string | null;
  empty: ComponentChildren;
  /** Column by which it is sorted at first; -1: as the rows come. */
  initial?: number;
  descending?: boolean;
}): JSX.Element {
  const [order, setOrder] = useState({ column: initial, descending });
  const [page, setPage] = useState(0);
  const sorted = useMemo(() => {
    const by = columns[order.column]?.sort;
    if (!by) return rows;
    const result = rows.map((row) => ({ row, by: by(row) })).sort((one, other) => compare(one.by, other.by)).map(({ row }) => row);
    return order.descending ? result.reverse() : result;
  }, [rows, columns, order]);
  if (rows.length === 0) return <>{empty}</>;
  const pages = Math.ceil(sorted.length / PAGE);
  const current = Math.min(page, pages - 1);
  const shown = sorted.slice(current * PAGE, (current + 1) * PAGE);
  return (
    <>
      <div class="scroll" tabIndex={0} role="region" aria-label={label}>
        <table aria-rowcount={rows.length}>
          <thead>
            <tr>
              {columns.map((column, at) => (
                <th key={column.title} scope="col" class={`${column.number ? 'number' : ''} ${column.wide ? 'wide' : ''}`}
                  aria-sort={order.column === at ? (order.descending ? 'descending' : 'ascending') : undefined}>
                  {column.sort
                    ? <button type="button" class="head" onClick={() => setOrder(
                      { column: at, descending: order.column === at ? !order.descending : false })}>{column.title}</button>
                    : column.title}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {shown.map((row) => (
              <tr key={keyOf(row)} class={`${rowClass?.(row) ?? ''} ${onRow ? 'pick' : ''}`}
                aria-selected={selected === undefined ? undefined : selected === keyOf(row)}
                onClick={onRow && (() => onRow(row))}>
                {columns.map((column) => (
                  <td key={column.title} class={`${column.number ? 'number' : ''} ${column.wide ? 'wide' : ''}`}>{column.cell(row)}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {pages > 1 && (
        <nav class="pages" aria-label={`Pages of ${label}`}>
          <button type="button" disabled={current === 0} onClick={() => setPage(current - 1)}>Previous</button>
          <span>{integer(current * PAGE + 1)} to {integer(Math.min(rows.length, (current + 1) * PAGE))} of {integer(rows.length)}</span>
          <button type="button" disabled={current === pages - 1} onClick={() => setPage(current + 1)}>Next</button>
        </nav>
      )}
    </>
  );
}

/** A name of a node that selects it. */
export const NodeName = ({ name, onSelect }: { name: string; onSelect: (name: string) => void }): JSX.Element => (
  <button type="button" class="name" onClick={(event) => {
    event.stopPropagation();
    onSelect(name);
  }}>{name}</button>
);
