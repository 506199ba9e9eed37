// waypoint/limits: limits of rate, pure. Owns token buckets and what a rate limit service is told to count.
export { descriptorsOf, type Descriptor, type DescriptorEntry } from './descriptors.ts';
export { localLimitReply, LocalRateLimiter, TokenBucket } from './local-rate-limit.ts';
