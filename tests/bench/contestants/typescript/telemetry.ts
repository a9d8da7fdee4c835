/**
 * The log and the metrics, as JSON lines, which Lambda collects.
 *
 * They never show a key, a body or a document.
 */

import { Logger } from '@aws-lambda-powertools/logger';
import { Metrics, MetricUnit } from '@aws-lambda-powertools/metrics';

export const logger = new Logger({ serviceName: 'subscriptions' });
export const metrics = new Metrics({ namespace: 'Subscriptions', serviceName: 'subscriptions' });

/** Counts. The metrics are written when the invocation ends. */
export const count = (name: string, value = 1) => metrics.addMetric(name, MetricUnit.Count, value);
