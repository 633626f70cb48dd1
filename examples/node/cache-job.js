// Have directories cached, and follow the job by asking for it every few seconds.
// Usage: node cache-job.js DIRECTORY...
// Ends with code 0 if the job completed.
'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const axios = require('axios');

const POLL_SECONDS = Number(process.env.GATEWAY_POLL_SECONDS ?? 5);
const ENDS = ['completed', 'failed', 'cancelled'];

const api = axios.create({
  baseURL: `${process.env.GATEWAY_URL ?? 'http://localhost:8095'}/api/v1`,
  headers: { 'X-API-Key': process.env.GATEWAY_KEY ?? 'demo-api-key-2024' },
  timeout: 60_000,
});

async function createCacheJob(files = [], directories = []) {
  const { data } = await api.post('/cache/jobs', { files, directories });
  console.log(`Job ${data.jobId}: ${data.totalFiles} files`);
  console.log(`To be read: ${data.totalSize.readable}`);
  return data.jobId;
}

async function showJob(jobId) {
  const { job } = (await api.get(`/cache/jobs/${jobId}`)).data;
  const { files, size } = job.progress;
  // There is a throughput only while the job runs and somebody has measured it lately.
  const speed = job.throughput ? `, at ${job.throughput.readable}` : '';
  console.log(`Files: ${files.completed} of ${files.total}`);
  console.log(`Read: ${size.completedReadable} of ${size.totalReadable}${speed}`);
  return job;
}

async function main(directories) {
  const jobId = await createCacheJob([], directories);
  let job = await showJob(jobId);
  while (!ENDS.includes(job.status)) {
    await sleep(POLL_SECONDS * 1000);
    job = await showJob(jobId);
  }
  console.log(`The job is ${job.status}${job.error ? `: ${job.error}` : ''}`);
  return job.status === 'completed';
}

main(process.argv.slice(2)).then(
  (completed) => { process.exitCode = completed ? 0 : 1; },
  (error) => {
    // Every refusal says in one sentence what is wrong; without a response nobody was there.
    const { response } = error;
    console.error(response ? `${response.status}: ${response.data.error}` : error.message);
    process.exitCode = 1;
  },
);
