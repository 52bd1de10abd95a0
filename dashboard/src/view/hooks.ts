import { createContext } from 'preact';
import { useContext, useEffect, useState } from 'preact/hooks';
import type { Snapshot, Store } from '../model/store';

export const StoreContext = createContext<Store>(null as unknown as Store);

export function useStore(): [Snapshot, Store] {
  const store = useContext(StoreContext);
  const [snapshot, set] = useState(store.snapshot);
  useEffect(() => {
    set(store.snapshot);
    return store.subscribe(() => set(store.snapshot));
  }, [store]);
  return [snapshot, store];
}

export const views = [
  'overview', 'members', 'services', 'leaders', 'ring', 'maps', 'reminders', 'peers', 'events',
] as const;
export type View = (typeof views)[number];
export interface Route { view: View; argument: string }

/** `#/maps/NAME` */
export function parseRoute(hash: string): Route {
  const [, view, ...rest] = hash.split('/');
  let argument = '';
  try {
    argument = decodeURIComponent(rest.join('/'));
  } catch {
    // Somebody wrote an address by hand.
  }
  return { view: views.find((one) => one === view) ?? 'overview', argument };
}

export const hrefOf = (view: View, argument = ''): string =>
  `#/${view}${argument === '' ? '' : `/${encodeURIComponent(argument)}`}`;

export function useRoute(): Route {
  const [route, set] = useState(parseRoute(location.hash));
  useEffect(() => {
    const changed = (): void => set(parseRoute(location.hash));
    addEventListener('hashchange', changed);
    return () => removeEventListener('hashchange', changed);
  }, []);
  return route;
}

// A browser that keeps nothing for pages throws.
const keep = {
  read: (): string | null => {
    try {
      return localStorage.getItem('theme');
    } catch {
      return null;
    }
  },
  write: (theme: string): void => {
    try {
      localStorage.setItem('theme', theme);
    } catch {
      // Then it holds until the page is left.
    }
  },
};

export type Theme = 'auto' | 'light' | 'dark';

/** The reader's choice is kept by the browser; `auto` follows its settings. */
export function useTheme(): { theme: Theme; dark: boolean; choose: (theme: Theme) => void } {
  const query = matchMedia('(prefers-color-scheme: dark)');
  const [theme, set] = useState<Theme>(() => {
    const kept = keep.read();
    return kept === 'light' || kept === 'dark' ? kept : 'auto';
  });
  const [system, setSystem] = useState(query.matches);
  useEffect(() => {
    const changed = (): void => setSystem(query.matches);
    query.addEventListener('change', changed);
    return () => query.removeEventListener('change', changed);
  }, []);
  const dark = theme === 'dark' || (theme === 'auto' && system);
  useEffect(() => { document.documentElement.dataset.theme = dark ? 'dark' : 'light'; }, [dark]);
  return {
    theme,
    dark,
    choose: (chosen) => {
      keep.write(chosen);
      set(chosen);
    },
  };
}

/** Seconds that pass, for "ago" and "in": re-renders once a second. */
export function useClock(): number {
  const [now, set] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => set(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  return now;
}
