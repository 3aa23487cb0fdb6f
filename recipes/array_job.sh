# One task of the array: it finds its own input by its index.
set -eu
set -- red green blue yellow
shift "$MAPRED_INDEX"

echo "$1 paint" > "$MAPRED_OUTPUT/order.txt"   # a file that is stored with the run
echo "task $MAPRED_INDEX ordered $1 paint"     # what a command prints is its result
