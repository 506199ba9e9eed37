// Refuses clients by their user agent, with a body of its own, and marks the answers to those that were let through.
import type { ExtensionModule } from '../../src/waypoint/extensions/module-types.ts';

interface Config {
  /** Parts of user agents, in whatever case. */
  readonly agents: readonly string[];
  /** Whether a request without a user agent passes. Default true. */
  readonly allowNone?: boolean;
}

const filter: ExtensionModule<Config> = {
  onRequest(request, { config, log }) {
    const agent = request.headers.get('user-agent')?.toLowerCase();
    const found =
      agent === undefined
        ? config.allowNone === false && 'no user agent'
        : config.agents.find((part) => agent.includes(part.toLowerCase()));
    if (found === false || found === undefined) return undefined;
    log(`refused: ${found}`, 'debug');
    return {
      status: 403,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ error: 'bots are not served here', because: found }),
    };
  },

  onResponse(response) {
    response.headers.set('x-bot-check', 'passed');
  },
};

export default filter;
