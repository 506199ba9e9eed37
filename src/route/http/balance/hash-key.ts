// What of a request decides on its endpoint under consistent hashing.
import type { Ip } from '#/kit/index.ts';
import type { HashBy, RequestFacts } from '#/model/index.ts';
import { cookieValue, parseQuery } from '../match-input.ts';
import { hashText } from './hash.ts';

export interface HashKey {
  /** Undefined: the request has nothing to go by; any endpoint will do, as in Envoy. */
  readonly hash: number | undefined;
  /** The Set-Cookie for the response: the client has no cookie yet, and gets one that leads to the same endpoint. */
  readonly setCookie?: string;
}

const nothing: HashKey = { hash: undefined };

const hex = (random: () => number): string =>
  Math.floor(random() * 2 ** 32)
    .toString(16)
    .padStart(8, '0');

export function hashKey({ by }: HashBy, request: RequestFacts, client: Ip, random: () => number): HashKey {
  switch (by.kind) {
    case 'source-ip':
      return { hash: hashText(client) };
    case 'header': {
      const name = by.name.toLowerCase();
      const value = name === 'host' || name === ':authority' ? request.authority : request.headers.get(name);
      return value === undefined ? nothing : { hash: hashText(value) };
    }
    case 'query': {
      const value = request.query === '' ? undefined : parseQuery(request.query).get(by.name);
      return value === undefined ? nothing : { hash: hashText(value) };
    }
    case 'cookie': {
      const value = cookieValue(request.headers.get('cookie'), by.name);
      if (value !== undefined && value !== '') return { hash: hashText(value) };
      if (by.ttlSeconds === undefined) return nothing;
      const made = hex(random) + hex(random);
      let setCookie = `${by.name}="${made}"`;
      if (by.ttlSeconds > 0) setCookie += `; Max-Age=${by.ttlSeconds}`;
      if (by.path !== undefined && by.path !== '') setCookie += `; Path=${by.path}`;
      for (const attribute of by.attributes ?? [])
        setCookie +=
          attribute.value === undefined || attribute.value === ''
            ? `; ${attribute.name}`
            : `; ${attribute.name}=${attribute.value}`;
      return { hash: hashText(made), setCookie: `${setCookie}; HttpOnly` };
    }
  }
}
