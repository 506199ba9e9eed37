// capture: from the settings of a pod to the rules that redirect its traffic into ztunnel, as data and as text
// for iptables-restore, nft, ip and ipset; and from what a namespace holds to what is wrong with it.
// May import kit. Runs nothing, reads nothing: must not know commands, files, namespaces or Kubernetes.
export * from './settings.ts';
export * from './rules.ts';
export * from './iptables.ts';
export * from './saved.ts';
export * from './guardrails.ts';
export * from './routing.ts';
export * from './host.ts';
export * from './nftables.ts';
