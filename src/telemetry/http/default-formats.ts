// Istio's formats, which tools parse: the fields and their order are an interface.
import type { WaypointMesh } from '#/model/index.ts';
import { compileJsonFormat, compileTextFormat, type JsonTemplate, type LogFormat } from './log-format.ts';
import type { LogSurroundings } from './log-operators.ts';

export const istioTextFormat = [
  '[%START_TIME%]',
  '"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%"',
  '%RESPONSE_CODE%',
  '%RESPONSE_FLAGS%',
  '%RESPONSE_CODE_DETAILS%',
  '%CONNECTION_TERMINATION_DETAILS%',
  '"%UPSTREAM_TRANSPORT_FAILURE_REASON%"',
  '%BYTES_RECEIVED%',
  '%BYTES_SENT%',
  '%DURATION%',
  '%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%',
  '"%REQ(X-FORWARDED-FOR)%"',
  '"%REQ(USER-AGENT)%"',
  '"%REQ(X-REQUEST-ID)%"',
  '"%REQ(:AUTHORITY)%"',
  '"%UPSTREAM_HOST%"',
  '%UPSTREAM_CLUSTER_RAW%',
  '%UPSTREAM_LOCAL_ADDRESS%',
  '%DOWNSTREAM_LOCAL_ADDRESS%',
  '%DOWNSTREAM_REMOTE_ADDRESS%',
  '%REQUESTED_SERVER_NAME%',
  '%ROUTE_NAME%',
].join(' ');

export const istioJsonLabels: Readonly<Record<string, string>> = {
  start_time: '%START_TIME%',
  route_name: '%ROUTE_NAME%',
  method: '%REQ(:METHOD)%',
  path: '%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%',
  protocol: '%PROTOCOL%',
  response_code: '%RESPONSE_CODE%',
  response_flags: '%RESPONSE_FLAGS%',
  response_code_details: '%RESPONSE_CODE_DETAILS%',
  connection_termination_details: '%CONNECTION_TERMINATION_DETAILS%',
  bytes_received: '%BYTES_RECEIVED%',
  bytes_sent: '%BYTES_SENT%',
  duration: '%DURATION%',
  upstream_service_time: '%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%',
  x_forwarded_for: '%REQ(X-FORWARDED-FOR)%',
  user_agent: '%REQ(USER-AGENT)%',
  request_id: '%REQ(X-REQUEST-ID)%',
  authority: '%REQ(:AUTHORITY)%',
  upstream_host: '%UPSTREAM_HOST%',
  upstream_cluster: '%UPSTREAM_CLUSTER_RAW%',
  upstream_local_address: '%UPSTREAM_LOCAL_ADDRESS%',
  downstream_local_address: '%DOWNSTREAM_LOCAL_ADDRESS%',
  downstream_remote_address: '%DOWNSTREAM_REMOTE_ADDRESS%',
  requested_server_name: '%REQUESTED_SERVER_NAME%',
  upstream_transport_failure_reason: '%UPSTREAM_TRANSPORT_FAILURE_REASON%',
};

/** The format of MeshConfig: `accessLogFormat` as text, or as an object in JSON. Empty: Istio's own. */
export function compileMeshFormat(
  { accessLogEncoding, accessLogFormat }: Pick<WaypointMesh, 'accessLogEncoding' | 'accessLogFormat'>,
  around: LogSurroundings = {},
): LogFormat {
  if (accessLogEncoding === 'TEXT')
    return compileTextFormat(accessLogFormat === '' ? istioTextFormat : accessLogFormat, around);
  if (accessLogFormat === '') return compileJsonFormat(istioJsonLabels, around);
  const labels = objectOf(accessLogFormat);
  if (labels !== undefined) return compileJsonFormat(labels, around);
  return {
    ...compileJsonFormat(istioJsonLabels, around),
    problems: ['accessLogFormat is not a JSON object, though accessLogEncoding is JSON: the default is used'],
  };
}

function objectOf(text: string): Readonly<Record<string, JsonTemplate>> | undefined {
  try {
    const parsed = JSON.parse(text) as JsonTemplate;
    return typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)
      ? (parsed as Readonly<Record<string, JsonTemplate>>)
      : undefined;
  } catch {
    return undefined;
  }
}
