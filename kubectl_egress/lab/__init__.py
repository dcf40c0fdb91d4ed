"""A cluster small enough for one machine: real Envoy, real redirect rules, a server that counts what arrives in clear."""

from __future__ import annotations
