package server_test

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// median is the middle of the durations; of an even number the later one of the two.
func median(durations []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(durations))
	return sorted[len(sorted)/2]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// report prints a duration in ms.
func report(b *testing.B, d time.Duration, unit string) { b.ReportMetric(milliseconds(d), unit) }

// BenchmarkPlanComment compares the way from a webhook to the plan comment with what a script would
// need for the same plans on the same machine: clone, and init, plan and show of each root.
func BenchmarkPlanComment(b *testing.B) {
	for _, roots := range []int{1, 5} {
		b.Run(fmt.Sprintf("roots=%d", roots), func(b *testing.B) {
			f := newBenchFleet(b, roots)
			script := newBare(b, f)
			var first, second, inTurn, atOnce []time.Duration
			for b.Loop() {
				pull := f.openAll()
				first = append(first, f.wayToComment("opened", pull))
				f.quiet()
				inTurn = append(inTurn, script.run(b, pull.branch, 1))
				f.pushAgain(pull)
				second = append(second, f.wayToComment("synchronize", pull))
				f.quiet()
				atOnce = append(atOnce, script.run(b, pull.branch, roots))
			}
			report(b, median(inTurn), "ms-bare")
			report(b, median(first), "ms-first")
			report(b, median(second), "ms-second")
			b.ReportMetric(float64(median(first))/float64(median(inTurn)), "x-first")
			b.ReportMetric(float64(median(second))/float64(median(inTurn)), "x-second")
			if roots > 1 {
				report(b, median(atOnce), "ms-bare-at-once")
				b.ReportMetric(float64(median(first))/float64(median(atOnce)), "x-first-at-once")
			}
		})
	}
}
