package server_test

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"
)

// The benchmarks print numbers that people compare; none of them fails because of a time. What must hold
// for the number of calls and processes is in calls_test.go. Each makes its own world; -benchtime 5x gives
// five pull requests in each.

// BenchmarkCalls counts the calls of GitHub's API, REST and GraphQL, without git, tokens and answers 304.
func BenchmarkCalls(b *testing.B) {
	for _, roots := range []int{1, 5, 20} {
		b.Run(fmt.Sprintf("opened-to-plan/roots=%d", roots), func(b *testing.B) {
			f := newBenchFleet(b, roots)
			most := 0
			for b.Loop() {
				before := f.Box.Calls()
				f.openAll()
				f.quiet()
				most = max(most, total(counted(before, f.Box.Calls())))
			}
			only(b, float64(most), "calls")
		})
	}
	b.Run("merge-to-applied/at-once", func(b *testing.B) {
		f := newBenchFleet(b, 1)
		most := 0
		for b.Loop() {
			pull := f.openAll()
			f.quiet()
			before := f.Box.Calls()
			f.applied(pull, f.merge(pull.number))
			f.quiet()
			most = max(most, total(counted(before, f.Box.Calls())))
		}
		only(b, float64(most), "calls")
	})
	b.Run("merge-to-applied/after-a-while", func(b *testing.B) {
		f := newBenchFleet(b, 1)
		most := 0
		for b.Loop() {
			most = max(most, total(f.slowMerge()))
		}
		only(b, float64(most), "calls")
	})
}

// only prints one number, without the time that counting it took.
func only(b *testing.B, value float64, unit string) {
	b.Helper()
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(value, unit)
}

// BenchmarkProcesses counts the Terraform processes of one target's plan.
func BenchmarkProcesses(b *testing.B) {
	f := newBenchFleet(b, 1)
	var first, second int
	for b.Loop() {
		pull := f.openAll()
		first = max(first, f.processes())
		f.quiet()
		f.pushAgain(pull)
		second = max(second, f.processes())
		f.quiet()
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(first), "processes-first-plan")
	b.ReportMetric(float64(second), "processes-second-plan")
}

// BenchmarkPlanComment compares the way from a webhook to the plan comment with a script that does the
// same plans on the same machine: clone, and init, plan and show of each root, one root after another.
// The script and the server take turns, so that both meet the same machine.
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
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(milliseconds(median(inTurn)), "ms-script")
			b.ReportMetric(milliseconds(median(first)), "ms-first-plan")
			b.ReportMetric(milliseconds(median(second)), "ms-second-plan")
			b.ReportMetric(ratio(first, inTurn), "×-first-plan")
			b.ReportMetric(ratio(second, inTurn), "×-second-plan")
			if roots > 1 {
				b.ReportMetric(milliseconds(median(atOnce)), "ms-script-parallel")
				b.ReportMetric(ratio(first, atOnce), "×-first-plan-parallel")
				b.ReportMetric(ratio(second, atOnce), "×-second-plan-parallel")
			}
		})
	}
}

// BenchmarkPlanCommentOfSlowGitHub adds a time to every call of GitHub's API, and divides by it what the way to
// the plan comment takes longer: so many calls stand on it, one after another.
func BenchmarkPlanCommentOfSlowGitHub(b *testing.B) {
	const latency = 150 * time.Millisecond
	for _, roots := range []int{1, 5} {
		b.Run(fmt.Sprintf("roots=%d", roots), func(b *testing.B) {
			f := newBenchFleet(b, roots)
			var quick, slow []time.Duration
			for b.Loop() {
				quick = append(quick, f.wayToComment("opened", f.openAll()))
				f.quiet()
				f.Box.SetLatency(latency)
				slow = append(slow, f.wayToComment("opened", f.openAll()))
				f.Box.SetLatency(0)
				f.quiet()
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(milliseconds(median(quick)), "ms-without")
			b.ReportMetric(milliseconds(median(slow)), "ms-with")
			b.ReportMetric(float64(median(slow)-median(quick))/float64(latency), "calls-on-the-way")
		})
	}
}

// median is the middle of some values; of an even number the upper one of the two.
func median[T cmp.Ordered](values []T) T { return slices.Sorted(slices.Values(values))[len(values)/2] }

// ratio compares the medians.
func ratio(ours, theirs []time.Duration) float64 {
	return float64(median(ours)) / float64(median(theirs))
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
