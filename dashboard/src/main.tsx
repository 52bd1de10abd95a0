import 'uplot/dist/uPlot.min.css';
import './style.css';
import { render } from 'preact';
import { Store } from './model/store';
import { App } from './view/app';
import { StoreContext } from './view/hooks';

const store = new Store();
render(<StoreContext.Provider value={store}><App /></StoreContext.Provider>, document.getElementById('app')!);
void store.live.run();
