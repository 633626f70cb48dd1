// The gateway's REST API, as any program uses it.

const SECONDS = 30;

export class ApiError extends Error {
  // `status` 0: no answer came at all.
  constructor(status, message, details = null, retryAfter = null) {
    super(message);
    this.status = status;
    this.details = details;
    this.retryAfter = retryAfter;
  }

  // The sentence for people, with the time to try again where there is one.
  get sentence() {
    if (this.retryAfter === null) return this.message;
    return `${this.message}: try again in ${this.retryAfter} s`;
  }
}

export class Api {
  constructor(root, session) {
    this.root = root;
    this.session = session;
  }

  // Health answers 503 with the reason; that is an answer, too.
  async health() {
    const response = await this.fetch('api/v1/health');
    return { status: response.status, ...(await readJson(response)) };
  }

  // Whether each monitor sees what it watches, by name, as Prometheus is told.
  async monitors() {
    const response = await this.fetch('api/v1/metrics', { headers: { Accept: 'text/plain' } });
    const found = (await response.text()).matchAll(/^teamcache_gateway_monitor_healthy\{monitor="([^"]+)"\} (\S+)/gm);
    return new Map([...found].map(([, name, value]) => [name, Number(value) === 1]));
  }

  async job(jobId) {
    return (await this.json(`api/v1/cache/jobs/${encodeURIComponent(jobId)}`)).job;
  }

  // How many there are in all, however old.
  async countJobs() {
    return (await this.json('api/v1/cache/jobs?limit=1')).total;
  }

  async files(jobId, status, limit) {
    return this.json(`api/v1/cache/jobs/${jobId}/files?status=${status}&limit=${limit}`);
  }

  async resolve(paths) {
    return (await this.json('api/v1/paths/resolve', 'POST', { paths })).paths;
  }

  async submit(files, directories, recursive) {
    return this.json('api/v1/cache/jobs', 'POST', { files, directories, recursive });
  }

  async cancel(jobId) {
    return this.json(`api/v1/cache/jobs/${jobId}`, 'DELETE');
  }

  async json(path, method = 'GET', body = undefined) {
    const headers = { Accept: 'application/json' };
    if (this.session.key !== null) headers['X-API-Key'] = asHeader(this.session.key);
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    const response = await this.fetch(path, { method, headers, body: JSON.stringify(body) });
    const answer = await readJson(response);
    if (response.ok) return answer;
    const retryAfter = Number(response.headers.get('Retry-After')) || null;
    const message = answer.error || `The gateway answered ${response.status}`;
    throw new ApiError(response.status, message, answer.details ?? null, retryAfter);
  }

  async fetch(path, options = {}) {
    try {
      const signal = AbortSignal.timeout(SECONDS * 1000);
      return await fetch(new URL(path, this.root), { cache: 'no-store', signal, ...options });
    } catch {
      throw new ApiError(0, 'The gateway cannot be reached');
    }
  }
}

// A header holds bytes: those of UTF-8, as the gateway reads them.
function asHeader(key) {
  return String.fromCharCode(...new TextEncoder().encode(key));
}

async function readJson(response) {
  try {
    return await response.json();
  } catch {
    return {};
  }
}
