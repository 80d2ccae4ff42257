package server_test

import "testing"

// TestStory plays the story that `make demo` shows: each numbered step is a test, and stands on those before it.
func TestStory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, step := range w.Steps() {
		if !t.Run(step.Name, func(t *testing.T) {
			if err := step.Do(w.ctx); err != nil {
				t.Fatal(err)
			}
		}) {
			t.FailNow()
		}
	}
}
