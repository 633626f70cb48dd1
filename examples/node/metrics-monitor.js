// Show throughput and S3 health as they change, until Ctrl-C; comes back when the gateway does.
// Usage: node metrics-monitor.js
'use strict';

const WebSocket = require('ws');

const GATEWAY = process.env.GATEWAY_URL ?? 'http://localhost:8095';
const RECONNECT_SECONDS = Number(process.env.GATEWAY_RECONNECT_SECONDS ?? 5);

class MetricsMonitor {
  constructor(url = `${GATEWAY.replace(/^http/, 'ws')}/ws`) {
    this.url = url;
    this.metrics = { lucidLink: null, s3Health: null };
    this.socket = null;
    this.timer = null;
  }

  connect() {
    this.socket = new WebSocket(this.url);
    this.socket.on('open', () => console.log(`Connected to ${this.url}`));
    this.socket.on('message', (data) => this.take(JSON.parse(data)));
    // A failed attempt to connect says "error" first, and then "close" too.
    this.socket.on('error', (error) => console.error(`WebSocket: ${error.code ?? error.message}`));
    this.socket.on('close', (code) => {
      console.log(`Disconnected (${code})`);
      this.timer = setTimeout(() => this.connect(), RECONNECT_SECONDS * 1000);
    });
  }

  // Other types of message are left alone: there are some, and may be more one day.
  take(message) {
    switch (message.type) {
      case 'metrics':
        this.keep(message);
        console.log(`At first: ${JSON.stringify(this.metrics)}`);
        break;
      case 'lucidlink-stats':
        this.keep(message);
        console.log(`Throughput: ${message.lucidLink.throughputMbps} MB/s`);
        break;
      case 's3-health':
        this.keep(message);
        console.log(describe(message.s3Health));
        break;
    }
  }

  keep({ lucidLink = this.metrics.lucidLink, s3Health = this.metrics.s3Health }) {
    this.metrics = { lucidLink, s3Health };
  }

  close() {
    clearTimeout(this.timer);
    this.socket?.removeAllListeners('close');
    this.socket?.close();
  }
}

function describe({ isHealthy, latency, averageLatency, error }) {
  // A check that failed has no latency, but a reason.
  return isHealthy
    ? `S3: ${latency} ms (on average ${averageLatency} ms)`
    : `S3: ${error} (on average ${averageLatency} ms before)`;
}

const monitor = new MetricsMonitor();
monitor.connect();
process.once('SIGINT', () => monitor.close());
