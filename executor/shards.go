package executor

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Bounds of how the roots of one plan are spread over the jobs of a run.
const (
	shardWork = 5 * time.Minute // past work that one job gets at most, where it has more than one root
	maxShards = 10
)

// Shards packs the roots of a plan for jobs that work beside each other, so that the longest job is short: the longest
// root first, each to the job that has the least. past is how long the roots took before; one that is not known counts as
// the middle of the others. Where nothing is known, or there are fewer than two roots, there is one job.
// region says where roots are planned, each with others of its region only; one without an entry is of the region "".
// Roots keep their order within a job, and jobs have the order of their first roots.
func Shards(roots []string, past map[string]time.Duration, region map[string]string) [][]string {
	if len(roots) < 2 {
		return [][]string{slices.Clone(roots)}
	}
	regions := map[string][]string{}
	for _, root := range roots {
		regions[region[root]] = append(regions[region[root]], root)
	}
	var shards [][]string
	for _, those := range regions {
		shards = append(shards, within(those, past, max(1, maxShards/len(regions)))...)
	}
	inOrder(shards, roots)
	return shards
}

// within packs the roots of one region for at most so many jobs.
func within(roots []string, past map[string]time.Duration, most int) [][]string {
	var known []time.Duration
	for _, root := range roots {
		if took, ok := past[root]; ok && took > 0 {
			known = append(known, took)
		}
	}
	if len(roots) < 2 || len(known) == 0 {
		return [][]string{slices.Clone(roots)}
	}
	slices.Sort(known)
	work := map[string]time.Duration{}
	var total time.Duration
	for _, root := range roots {
		took := past[root]
		if took <= 0 {
			took = known[len(known)/2]
		}
		work[root] = took
		total += took
	}
	least := max(shardWork, slices.Max(slices.Collect(maps.Values(work)))) // more jobs would only wait for the longest root
	jobs := min(int((total+least-1)/least), most, len(roots))
	return pack(roots, work, jobs)
}

// pack is the rule of the longest first, https://en.wikipedia.org/wiki/Longest-processing-time-first_scheduling.
func pack(roots []string, work map[string]time.Duration, jobs int) [][]string {
	order := slices.Clone(roots)
	slices.SortStableFunc(order, func(a, b string) int { return cmp.Compare(work[b], work[a]) })
	shards, load := make([][]string, jobs), make([]time.Duration, jobs)
	for _, root := range order {
		least := 0
		for i := range load {
			if load[i] < load[least] {
				least = i
			}
		}
		shards[least] = append(shards[least], root)
		load[least] += work[root]
	}
	inOrder(shards, roots)
	return shards
}

// inOrder gives roots, and the jobs that they are packed for, the order of a list.
func inOrder(shards [][]string, roots []string) {
	place := map[string]int{}
	for i, root := range roots {
		place[root] = i
	}
	for _, shard := range shards {
		slices.SortFunc(shard, func(a, b string) int { return cmp.Compare(place[a], place[b]) })
	}
	slices.SortFunc(shards, func(a, b []string) int { return cmp.Compare(place[a[0]], place[b[0]]) })
}
