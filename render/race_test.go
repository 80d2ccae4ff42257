//go:build race

package render_test

// sampled is set where the race detector makes everything ten times as slow: then one in eight of the hostile
// texts is tried. The texts are made without concurrency, so that the others would show it nothing new.
const sampled = true
