//go:build !race

package render_test

// sampled is set where the race detector makes everything ten times as slow.
const sampled = false
