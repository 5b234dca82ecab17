// Every screen, in the order of the navigation.

import type { FunctionComponent } from 'preact';
import type { Place } from '../lib/route';
import { About } from './about';
import { Audit } from './audit';
import { Calls } from './calls';
import { Events } from './events';
import { Exchanges } from './exchanges';
import { Interfaces } from './interfaces';
import { LiveCalls } from './livecalls';
import { LiveSIP } from './livesip';
import { Orphans } from './orphans';
import { Overview } from './overview';
import { ParseLab } from './parselab';
import { Registrations } from './registrations';
import { Rules } from './rules';
import { Settings } from './settings';
import { Spool } from './spool';
import { Trends } from './trends';
import { Users } from './users';

export interface Screen {
  path: string;
  name: string;
  icon: string;
  group: string;
  needs?: string; // permission
  part?: string; // of the appliance
  key?: string; // after g
  fixed?: boolean; // fills the window; its table scrolls, not the page
  body: FunctionComponent<{ place: Place }>;
}

export const screens: Screen[] = [
  { path: '/overview', name: 'Overview', icon: 'overview', group: '', needs: 'stats:read', key: 'o', body: Overview },
  { path: '/calls', name: 'Calls', icon: 'calls', group: 'Records', needs: 'calls:read', key: 'c', fixed: true, body: Calls },
  { path: '/registrations', name: 'Registrations', icon: 'registrations', group: 'Records', needs: 'calls:read', key: 'r', fixed: true, body: Registrations },
  { path: '/exchanges', name: 'Other SIP', icon: 'exchanges', group: 'Records', needs: 'calls:read', key: 'm', fixed: true, body: Exchanges },
  { path: '/events', name: 'Events', icon: 'events', group: 'Records', needs: 'calls:read', key: 'e', fixed: true, body: Events },
  { path: '/orphans', name: 'RTP without call', icon: 'orphans', group: 'Records', needs: 'calls:read', fixed: true, body: Orphans },
  { path: '/trends', name: 'Trends', icon: 'trends', group: 'Records', needs: 'stats:read', key: 't', body: Trends },
  { path: '/live', name: 'Live calls', icon: 'live', group: 'Live', needs: 'live:read', part: 'live', key: 'l', fixed: true, body: LiveCalls },
  { path: '/sip', name: 'Live SIP', icon: 'tail', group: 'Live', needs: 'signalling:read', part: 'live', key: 's', fixed: true, body: LiveSIP },
  { path: '/interfaces', name: 'Interfaces', icon: 'interfaces', group: 'Capture', needs: 'status:read', part: 'capture', key: 'i', body: Interfaces },
  { path: '/spool', name: 'Spool', icon: 'spool', group: 'Capture', needs: 'status:read', part: 'spool', key: 'p', body: Spool },
  { path: '/rules', name: 'Capture rules', icon: 'rules', group: 'Capture', needs: 'status:read', part: 'rules', body: Rules },
  { path: '/settings', name: 'Settings', icon: 'settings', group: 'Administration', needs: 'settings:read', body: Settings },
  { path: '/users', name: 'Users & tokens', icon: 'users', group: 'Administration', key: 'u', body: Users },
  { path: '/audit', name: 'Audit', icon: 'audit', group: 'Administration', needs: 'audit:read', key: 'a', fixed: true, body: Audit },
  { path: '/parse', name: 'Parse lab', icon: 'parse', group: 'Administration', needs: 'signalling:read', body: ParseLab },
  { path: '/about', name: 'About', icon: 'about', group: 'Administration', body: About },
];
