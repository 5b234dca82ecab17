// The UI begins here: who is logged in, then the shell with the screen that the
// path names.

import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { get, whenLoggedOut } from './lib/api';
import { follow } from './lib/route';
import { identify, me } from './lib/session';
import { Login, NewPassword, Setup } from './screens/login';
import { Shell } from './ui/shell';
import { Toasts, Wait } from './ui/parts';

function App() {
  const who = me.use();
  const [setup, setSetup] = useState<boolean | undefined>();
  useEffect(() => {
    whenLoggedOut(() => me.set(null));
    void identify();
  }, []);
  useEffect(() => {
    if (who !== null) return;
    get<{ needed: boolean }>('/setup').then((s) => setSetup(s.needed), () => setSetup(false));
  }, [who === null]);
  if (who === undefined || (who === null && setup === undefined)) return <Wait>Connecting</Wait>;
  if (who === null) return setup ? <Setup /> : <Login />;
  if (who.must_change_password) return <NewPassword />;
  return <Shell />;
}

document.addEventListener('click', follow);
render(
  <>
    <App />
    <Toasts />
  </>,
  document.getElementById('app')!,
);
