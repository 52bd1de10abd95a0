import { expect, it } from 'vitest';
import { bytes, duration, milliseconds, percent } from '../src/model/format';
import { hrefOf, parseRoute } from '../src/view/hooks';

it('bytes have the unit that reads best', () => {
  expect([0, 1023, 1024, 5 * 1024 * 1024, 300 * 1024].map(bytes)).toEqual(['0 B', '1023 B', '1.0 KiB', '5.0 MiB', '300 KiB']);
});

it('times show their two greatest units', () => {
  expect([40, 5000, 60_000, 725_000, 3_600_000, 273_600_000].map(duration)).toEqual(['40 ms', '5 s', '1 min', '12 min 5 s', '1 h', '3 d 4 h']);
  expect([0.42, 12.34, 250.2].map(milliseconds)).toEqual(['0.42 ms', '12.3 ms', '250 ms']);
});

it('a small loss is not shown as none', () => expect([0, 0.0004, 0.012, 0.5].map(percent)).toEqual(['0 %', '< 0.1 %', '1.2 %', '50 %']));

it('an address leads to the view and the map that it was made for', () => {
  for (const name of ['users', 'a/b c', '<<"ü">>', '100%']) expect(parseRoute(hrefOf('maps', name))).toEqual({ view: 'maps', argument: name });
  expect(parseRoute('#/nowhere/%')).toEqual({ view: 'overview', argument: '' });
});
