"""Reads OpenMetrics from standard input with Prometheus's own parser and prints its samples as JSON."""

import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

# As bytes, so that a carriage return stays one.
text = sys.stdin.buffer.read().decode("utf-8")
families = []
for family in text_string_to_metric_families(text):
    samples = [[sample.name, sample.labels, sample.value] for sample in family.samples]
    families.append({"name": family.name, "type": family.type, "unit": family.unit, "samples": samples})
json.dump(families, sys.stdout)
