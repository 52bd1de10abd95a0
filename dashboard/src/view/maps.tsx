import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { decodeMapPage } from '../model/api';
import type { MapInfo, MapPage, State } from '../model/api';
import { integer } from '../model/format';
import { hrefOf } from './hooks';
import { Card, Empty, Search } from './parts';

const LIMIT = 50;
/** After the last key of a search: one question to the node for a word, not one for each letter. */
const TYPING_MS = 200;

type Answer = { page: MapPage } | { error: string } | null;

async function ask(name: string, prefix: string, after: string | null, signal: AbortSignal): Promise<Answer> {
  const query = new URLSearchParams({ limit: String(LIMIT) });
  if (prefix !== '') query.set('prefix', prefix);
  if (after !== null) query.set('after', after);
  const response = await fetch(`api/maps/${encodeURIComponent(name)}?${query}`, { cache: 'no-store', signal });
  if (response.status === 404) return { error: 'This node has no such map open.' };
  if (!response.ok) return { error: `The node answers with ${response.status}.` };
  return { page: decodeMapPage(await response.json()) };
}

function Browser({ map }: { map: MapInfo }): JSX.Element {
  const [prefix, setPrefix] = useState('');
  /** The `after` of each page up to this one. */
  const [path, setPath] = useState<(string | null)[]>([null]);
  const [answer, setAnswer] = useState<Answer>(null);
  const [again, setAgain] = useState(0);
  useEffect(() => {
    setPath([null]);
    setAnswer(null);
    setPrefix('');
  }, [map.name]);
  const after = path[path.length - 1] ?? null;
  useEffect(() => {
    const abort = new AbortController();
    const timer = setTimeout(() => {
      ask(map.name, prefix, after, abort.signal).then(setAnswer, (error: unknown) => {
        if (!abort.signal.aborted) setAnswer({ error: `The node does not answer: ${String(error)}` });
      });
    }, answer === null ? 0 : TYPING_MS);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
    // The size tells that the map changed; a value that changed alone shows after "Refresh".
  }, [map.name, prefix, after, map.size, again]);
  const page = answer && 'page' in answer ? answer.page : null;
  return (
    <Card title={map.name} note={`${integer(map.size)} entries${map.persist ? ', kept on disk' : ''}`} tools={<>
      <Search label="Keys that start with" value={prefix} onInput={(text) => {
        setPrefix(text);
        setPath([null]);
      }} />
      <button type="button" onClick={() => setAgain(again + 1)}>Refresh</button></>}>
      {answer && 'error' in answer && <p class="problem" role="alert">{answer.error}</p>}
      {page && page.entries.length === 0 && (prefix === ''
        ? <Empty what="This map is empty">Put something in: <code>barrel_p2p map put {map.name} KEY VALUE</code></Empty>
        : <Empty what="No key starts like that">Keys are compared as text; quotes of strings and binaries need not be typed.</Empty>)}
      {page && page.entries.length > 0 && (
        <>
          <div class="scroll" tabIndex={0} role="region" aria-label={`Entries of ${map.name}`}>
            <table>
              <thead><tr><th scope="col">Key</th><th scope="col" class="wide">Value</th></tr></thead>
              <tbody>{page.entries.map((entry) => (
                <tr key={entry.key}><td><code>{entry.key}</code></td><td class="wide"><code>{entry.value}</code></td></tr>))}</tbody>
            </table>
          </div>
          {(path.length > 1 || page.next !== null) && (
            <nav class="pages" aria-label="Pages of entries">
              <button type="button" disabled={path.length === 1} onClick={() => setPath(path.slice(0, -1))}>Previous</button>
              <span>page {integer(path.length)}</span>
              <button type="button" disabled={page.next === null} onClick={() => setPath([...path, page.next])}>Next</button>
            </nav>)}
        </>
      )}
    </Card>
  );
}

export function Maps({ state, argument }: { state: State; argument: string }): JSX.Element {
  const chosen = state.maps.find((map) => map.name === argument) ?? state.maps[0];
  if (!chosen) {
    return <Card title="Maps"><Empty what="No map is open on this node">A program opens one with <code>Node::open_map</code>; the configuration
      file can list maps too. Then their entries can be browsed here.</Empty></Card>;
  }
  return (
    <div class="columns columns-maps">
      <Card title="Maps" note={integer(state.maps.length)}>
        <ul class="choices">{state.maps.map((map) => (
          <li key={map.name}><a href={hrefOf('maps', map.name)} aria-current={map.name === chosen.name ? 'true' : undefined}>
            <code>{map.name}</code><span class="muted">{integer(map.size)}</span></a></li>))}</ul>
      </Card>
      <Browser map={chosen} />
    </div>
  );
}
