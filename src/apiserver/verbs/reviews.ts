// Questions to the server that are asked by creating an object which is never stored.
import { issuer, type Tokens } from '../auth/tokens.ts';
import { sendValue, type Call } from '../serving/call.ts';
import { digList, digText, isObject, type Item, type JsonObject } from '../json.ts';
import { groupVersion, type Kind } from '../kinds/kind.ts';
import { decodeItem } from '../schema/decode.ts';

export function handleReview(call: Call, kind: Kind, body: JsonObject, tokens: Tokens): void {
  const item = body as unknown as Item;
  item.kind ??= kind.kind;
  item.metadata ??= { name: '' };
  decodeItem(item, kind.schema);
  sendValue(call.response, 201, {
    kind: kind.kind,
    apiVersion: groupVersion(kind),
    metadata: { creationTimestamp: null },
    ...(item.spec === undefined ? {} : { spec: item.spec }),
    status: answer(call, kind, item, tokens),
  });
}

function answer(call: Call, kind: Kind, item: Item, tokens: Tokens): unknown {
  switch (kind.kind) {
    case 'TokenReview': {
      const audiences = digList(item.spec, 'audiences').map(String);
      const wanted = audiences.length === 0 ? [issuer] : audiences;
      const checked = tokens.check(digText(item.spec, 'token'), wanted);
      if ('error' in checked)
        return { authenticated: false, user: {}, error: `[invalid bearer token, ${checked.error}]` };
      const { name, uid, groups, extra } = checked.user;
      return {
        authenticated: true,
        user: { username: name, uid, groups, extra },
        audiences: checked.audiences,
      };
    }
    case 'SelfSubjectReview': {
      const { name, uid, groups, extra } = call.user;
      return {
        userInfo: {
          username: name,
          ...(uid === undefined ? {} : { uid }),
          groups,
          ...(extra === undefined ? {} : { extra }),
        },
      };
    }
    case 'SelfSubjectRulesReview':
      return {
        resourceRules: [{ verbs: ['*'], apiGroups: ['*'], resources: ['*'] }],
        nonResourceRules: [{ verbs: ['*'], nonResourceURLs: ['*'] }],
        incomplete: false,
      };
    default:
      // Whoever has a credential may do everything: RBAC objects are stored, not enforced.
      return isObject(item.spec)
        ? { allowed: true, reason: 'this server lets everyone with a credential do everything' }
        : { allowed: false, reason: 'spec is missing' };
  }
}
