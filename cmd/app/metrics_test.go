package main_test

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/contract"
	"github.com/switchyard-dev/switchyard/server"
)

// metric is what docs/operations.md says about one metric.
type metric struct {
	name, labels, words, alert string

	rare bool // a server shows it only once there is something to tell
}

func metrics() []metric {
	return []metric{
		{
			name: "switchyard_webhook_deliveries_total", labels: "event, outcome",
			words: "Requests to the webhook, by what became of them: `accepted`, `duplicate`, `ignored`, `unknown`; `unsigned`, `too_large`, " +
				"`malformed`; `busy` and `failed`, which GitHub shows as failed deliveries.",
			alert: "`failed` or `busy` rises: look at `/readyz` and the database. `unsigned` rises: the secret is not the App's, or strangers call.",
		},
		{
			name: "switchyard_webhook_seconds", labels: "le",
			words: "How long GitHub waited for an answer. A histogram.",
			alert: "The 99th percentile is over 1 s: the database is slow. GitHub gives up after 10 s.",
		},
		{
			name: "switchyard_jobs", labels: "class, state",
			words: "Jobs in the queue: `quick` ones look and decide, `long` ones drive operations, `bots` are plans of bots' pull requests; `waiting`, `running`, or `dead`, which were " +
				"given up after 20 failures.",
			alert: "`dead` rises: read the log line \"this work was given up\".",
		},
		{
			name: "switchyard_oldest_job_timestamp_seconds", labels: "class", rare: true,
			words: "When the oldest job that is not done was queued. Absent while there is none.",
			alert: "`time() - …` of `quick` is over 10 minutes: nothing is decided any more. That of `long` is as old as the longest apply.",
		},
		{
			name:  "switchyard_surfaces_pending",
			words: "Comments, checks and deployments that GitHub does not show yet as they should be.",
			alert: "Over 0 for 30 minutes while `switchyard_github_writes_left` is not 0: GitHub refuses them, and the log says why.",
		},
		{
			name:  "switchyard_backlog_errors",
			words: "1 when the database could not be asked for the backlog. The metrics of jobs and surfaces are absent then.",
			alert: "1 for 2 minutes: the database does not answer.",
		},
		{
			name: "switchyard_dispatch_seconds", labels: "kind, le", rare: true,
			words: "From the acceptance of a webhook until a workflow was dispatched because of it, without the time that calls of GitHub's API " +
				"took: what git fetches is in it, what waited behind another operation is left out. Of each webhook the first dispatch counts. " +
				"About 0.1 s on two cores. With replicas, calls that another one made are in it. Absent until the first. A histogram.",
			alert: "The 95th percentile is over 2 s: the host, the disk of `data_dir` or the database is slow.",
		},
		{
			name: "switchyard_github_requests_total", labels: "code, method, route",
			words: "Calls of GitHub's API. `code` is `error` where no answer came.",
			alert: "`error` or `5..` is most of them for 10 minutes: GitHub or the way there is down. `401`: the key or the App is gone.",
		},
		{
			name: "switchyard_github_rate_limit_remaining", labels: "installation, resource",
			words: "Calls that GitHub still allowed at its last answer.",
			alert: "Under 500 again and again: too many repositories or too short a `sweep` for one installation.",
		},
		{
			name: "switchyard_github_postponed_total", labels: "why", rare: true,
			words: "Calls that were put off: `refused` by GitHub, `pace` of writes, `floor` of reads that can wait. Absent until the first.",
			alert: "`refused` rises: somebody else spends the same limits, or `writes.*` or `replicas` are wrong.",
		},
		{
			name: "switchyard_github_polling_slowed", labels: "installation",
			words: "1 while sweeps are held back because few calls are left.",
			alert: "1 for over an hour.",
		},
		{
			name: "switchyard_github_writes_left", labels: "for, installation",
			words: "Writes that this server may make now, for `people` and for `bots`.",
			alert: "None: 0 means that comments are late, not that they are lost.",
		},
	}
}

func metricTable() string {
	var table strings.Builder
	table.WriteString("| metric | labels | what it tells | alert when |\n| --- | --- | --- | --- |\n")
	for _, m := range metrics() {
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", m.name, m.labels, m.words, m.alert)
	}
	return table.String()
}

// TestTheDocumentationHasTheMetricsOfARunningServer asks a server beside the stand-in, and the code for what a
// server does not show at once.
func TestTheDocumentationHasTheMetricsOfARunningServer(t *testing.T) {
	t.Parallel()
	told := map[string]string{}
	always := map[string]string{}
	for _, m := range metrics() {
		told[m.name] = m.labels
		if !m.rare {
			always[m.name] = m.labels
		}
	}
	shown := scraped(t, slices.Collect(maps.Keys(always)))
	for name := range shown {
		if _, ok := always[name]; !ok && told[name] != "" {
			always[name] = told[name]
		}
	}
	if diff := cmp.Diff(always, shown); diff != "" {
		t.Errorf("docs/operations.md has other metrics than a running server (-told +shown):\n%s", diff)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(told)), inCode(t)); diff != "" {
		t.Errorf("docs/operations.md has other metrics than the code (-told +code):\n%s", diff)
	}
}

// scraped are the metrics of ours, with their labels, that a server shows once it has taken in a repository.
func scraped(t *testing.T, names []string) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	box, err := sandbox.Start(ctx, sandbox.Options{Dir: filepath.Join(dir, "github"), Log: zerolog.Nop(), Observe: contract.Watch(t).Observe})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = box.Close() }()
	if err := box.CreateOrg("acme"); err != nil {
		t.Fatal(err)
	}
	if _, err := box.CreateRepository(ctx, "acme", "shop", sandbox.Seed{
		DefaultBranch: "main", Branches: []sandbox.SeedBranch{{Name: "main", Files: map[string]string{"README.md": "shop\n"}}},
	}); err != nil {
		t.Fatal(err)
	}
	running, err := server.New(ctx, server.ForSandbox(box, filepath.Join(dir, "data"), os.Args[0], zerolog.Nop()))
	if err != nil {
		t.Fatal(err)
	}
	box.SetWebhookURL(running.URL() + "/api/github/hook")
	serving, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- running.Run(serving) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	if err := box.Install(ctx, "acme", "shop"); err != nil {
		t.Fatal(err)
	}
	var found map[string]string
	if err := box.Await(ctx, func() bool { // until the answers of GitHub were counted
		found = scrape(ctx, t, running.URL()+"/metrics")
		return !slices.ContainsFunc(names, func(name string) bool { _, ok := found[name]; return !ok })
	}); err != nil {
		t.Logf("%v", err) // the comparison says what is missing
	}
	return found
}

// sample is a line of a scrape: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
var (
	sample = regexp.MustCompile(`^(switchyard_[a-z_]+?)(?:_bucket|_sum|_count)?(?:\{(.*)\})? [^ ]+$`)
	label  = regexp.MustCompile(`([a-z_]+)="[^"]*"`)
)

func scrape(ctx context.Context, t *testing.T, url string) map[string]string {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	found := map[string]string{}
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		match := sample.FindStringSubmatch(lines.Text())
		if match == nil {
			continue
		}
		var labels []string
		for _, l := range label.FindAllStringSubmatch(match[2], -1) {
			labels = append(labels, l[1])
		}
		if all := strings.Join(labels, ", "); len(all) >= len(found[match[1]]) { // the sum of a histogram has fewer
			found[match[1]] = all
		}
	}
	return found
}

// inCode are the names of metrics that are written in the code of the server.
func inCode(t *testing.T) []string {
	t.Helper()
	names := map[string]bool{}
	named := regexp.MustCompile(`(?:Name: *|NewDesc\()"(switchyard_[a-z_]+)"`)
	for _, room := range []string{"handlers", "server", "deploy", "queue", "store", "hub", "git", "executor", "executor/*"} {
		files, err := filepath.Glob(filepath.Join(top, room, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no code in %s: %v", room, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			for _, match := range named.FindAllStringSubmatch(page(t, file), -1) {
				names[match[1]] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}
