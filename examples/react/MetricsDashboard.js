// Throughput and S3 health, live. An ordinary React component without JSX, so that a browser can
// load it as it is; copy it into an application of yours, whose bundler resolves "react".
import { createElement as h, useEffect, useState } from 'react';

const NOTHING_YET = {
  lucidLink: { throughputMbps: 0 },
  s3Health: { latency: null, averageLatency: null, isHealthy: null },
};

export function MetricsDashboard({ url = 'ws://localhost:8095/ws' }) {
  const { lucidLink, s3Health } = useMetrics(url);
  return h('main', null,
    h('h2', null, 'System metrics'),
    h('section', { 'aria-label': 'Throughput' },
      h('h3', null, 'LucidLink throughput'),
      h('p', null, `${lucidLink.throughputMbps.toFixed(2)} MB/s`)),
    h('section', { 'aria-label': 'S3 health' },
      h('h3', null, 'S3 health'),
      h('p', null, `Status: ${describe(s3Health.isHealthy)}`),
      h('p', null, `Latency: ${milliseconds(s3Health.latency)}`),
      h('p', null, `Average: ${milliseconds(s3Health.averageLatency)}`)));
}

// The newest figures. The first message holds both, each later one the one that has changed.
function useMetrics(url) {
  const [metrics, setMetrics] = useState(NOTHING_YET);
  useEffect(() => {
    const socket = new WebSocket(url);
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      switch (message.type) {
        case 'metrics':
        case 'lucidlink-stats':
        case 's3-health':
          setMetrics(({ lucidLink, s3Health }) => ({
            lucidLink: message.lucidLink ?? lucidLink,
            s3Health: message.s3Health ?? s3Health,
          }));
      }
    };
    return () => socket.close();
  }, [url]);
  return metrics;
}

// Neither: before the first check, and where no bucket is configured.
function describe(isHealthy) {
  return isHealthy === null ? 'not known' : isHealthy ? '✓ Healthy' : '✗ Unhealthy';
}

function milliseconds(value) {
  return value === null ? '–' : `${value} ms`;
}
