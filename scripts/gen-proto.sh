#!/bin/sh
# Generates src/wire/gen from proto/ with the locked, local plugin. No network is used.
set -eu
cd "$(dirname "$0")/../proto"
PATH="$(cd .. && pwd)/node_modules/.bin:$PATH" exec buf generate
