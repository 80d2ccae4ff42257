package render_test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/yuin/goldmark/text"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
)

const (
	firstURL = web + "/acme/network/pull/41#issuecomment-100"
	manyURL  = web + "/acme/network/pull/41#issuecomment-"
)

// numbered is a plan of n resources, each with a value that no other has.
func numbered(root string, n, long int) operation.TargetResult {
	changes := make([]operation.Change, n)
	for i := range changes {
		value := fmt.Sprintf("%s-%d-%s", root, i, strings.Repeat("v", long))
		changes[i] = updated(fmt.Sprintf("terraform_data.r%04d", i), attribute("input", `"before"`, quote(value)))
	}
	return target(root, "dev", operation.Planned, changeSet(changes...))
}

// planned is a view of a pull request with a plan of targets, whose first comment is there.
func planned(targets ...operation.TargetResult) render.PullView {
	v := pull(planOperation(operation.Succeeded, result(targets...)))
	v.CommentURL = firstURL
	return v
}

// posted is a view whose further comments are there.
func posted(v render.PullView) render.PullView {
	v.Pages = render.PlanPages(v)
	for i := range v.Pages.Bodies {
		v.Pages.URLs = append(v.Pages.URLs, manyURL+strconv.Itoa(101+i))
	}
	return v
}

func TestAPlanHasFurtherCommentsOnlyWhenNothingElseHasRoomForIt(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		view render.PullView
		want bool
	}{
		"a short plan has none":                                   {planned(numbered("src/a", 3, 20)), false},
		"a plan that just fits into the comment":                  {planned(numbered("src/a", 300, 50)), false},
		"a plan that fits into the check's text only":             {planned(withRisks(numbered("src/a", 400, 50))), false},
		"a plan that fits nowhere":                                {planned(numbered("src/a", 900, 50)), true},
		"short plans that together fit nowhere":                   {planned(numbered("src/a", 300, 50), numbered("src/b", 300, 50), numbered("src/c", 300, 50)), true},
		"a plan that is still made":                               {with(planned(numbered("src/a", 900, 50)), running), false},
		"a plan that failed, of what it could plan":               {with(planned(numbered("src/a", 900, 50)), failed), true},
		"a plan whose merge was applied":                          {with(planned(numbered("src/a", 900, 50)), applied), false},
		"a pull request that has a conflict by now":               {with(planned(numbered("src/a", 900, 50)), conflicting), false},
		"a pull request without a plan":                           {pull(nil), false},
		"more roots than are listed in one text, all of one line": {planned(manyTargets(250)...), true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := render.PlanPages(test.view)
			if (got != nil) != test.want {
				t.Fatalf("there are further comments: %t", got != nil)
			}
		})
	}
}

func running(v *render.PullView)     { v.Plan.State = operation.Running }
func failed(v *render.PullView)      { v.Plan.State = operation.Failed }
func conflicting(v *render.PullView) { v.Merge = "a.tf\nb.tf" }
func applied(v *render.PullView) {
	v.Applies = []render.ApplyView{apply(applyOperation("dev", operation.Succeeded, nil))}
}

func manyTargets(n int) []operation.TargetResult {
	targets := make([]operation.TargetResult, n)
	for i := range targets {
		targets[i] = numbered(fmt.Sprintf("src/r%03d", i), 1, 3)
	}
	return targets
}

// withRisks leaves less room in the comment than in the text of the check.
func withRisks(one operation.TargetResult) operation.TargetResult {
	for _, change := range one.ChangeSet.Changes[:100] {
		one.Risks = append(one.Risks, operation.Risk{
			Address: change.Address, Action: operation.Update, Rule: operation.RiskAccess, Reason: "It lets somebody in " + strings.Repeat("who is far away ", 6) + ".",
		})
	}
	return one
}

func TestFurtherCommentsShowEachChangeOnceInOrder(t *testing.T) {
	t.Parallel()
	targets := []operation.TargetResult{numbered("src/b", 500, 60), numbered("src/a", 7, 60), numbered("src/c", 800, 90)}
	pages := render.PlanPages(planned(targets...))
	if pages == nil || len(pages.Left) > 0 || len(pages.Bodies) < 3 || len(pages.Bodies) > render.MaxPages {
		t.Fatalf("pages: %+v", pages)
	}
	var want []string
	for _, one := range targets {
		for i := range one.ChangeSet.Changes {
			want = append(want, fmt.Sprintf("%s-%d-", one.Target.Root, i))
		}
	}
	got := regexp.MustCompile(`src/[abc]-\d+-`).FindAllString(strings.Join(pages.Bodies, ""), -1)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	for i, body := range pages.Bodies {
		checkPage(t, body, i+2, len(pages.Bodies)+1)
		if strings.Contains(body, "continued:") {
			t.Errorf("page %d begins within a short change", i+2)
		}
		if i < len(pages.Bodies)-1 && encodedLength(t, body) < render.MaxComment*8/10 {
			t.Errorf("page %d has only %d bytes", i+2, encodedLength(t, body))
		}
	}
}

// checkPage holds one further comment to what each of them has to be.
func checkPage(t *testing.T, body string, page, of int) {
	t.Helper()
	if size := encodedLength(t, body); size > render.MaxComment {
		t.Errorf("page %d has %d bytes as JSON", page, size)
	}
	for _, harm := range harms(body) {
		t.Errorf("page %d has %.300s", page, harm)
	}
	if open, closed := strings.Count(body, "<details>"), strings.Count(body, "</details>"); open != closed || open == 0 {
		t.Errorf("page %d has %d details, of which %d end", page, open, closed)
	}
	for _, want := range []string{fmt.Sprintf(", %d of %d.** [1 of %d](%s)", page, of, of, firstURL), "\n" + render.PageMarker(41, page) + "\n"} {
		if strings.Count(body, want) != 1 {
			t.Errorf("page %d lacks %q:\n%.600s", page, want, body)
		}
	}
	if strings.Contains(body, render.Marker(41)) || strings.Contains(body, "The rest is too long") {
		t.Errorf("page %d would be taken for the first, or is cut:\n%.600s", page, body)
	}
}

func TestAChangeLongerThanAPageGoesOnOnTheNextUnderItsName(t *testing.T) {
	t.Parallel()
	var attributes []operation.Attribute
	for i := range 400 {
		attributes = append(attributes, attribute(fmt.Sprintf("a%03d", i), `"x"`, quote(fmt.Sprintf("value-%03d-%s", i, strings.Repeat("w", 250)))))
	}
	one := target("src/a", "dev", operation.Planned, changeSet(
		updated("terraform_data.before", attribute("a", `1`, `2`)), updated("terraform_data.large", attributes...), updated("terraform_data.then", attribute("a", `1`, `2`)),
	))
	pages := render.PlanPages(planned(one))
	all := strings.Join(pages.Bodies, "")
	for i := range attributes {
		if n := strings.Count(all, fmt.Sprintf("value-%03d-", i)); n != 1 {
			t.Errorf("value %d is there %d times", i, n)
		}
	}
	if !strings.Contains(pages.Bodies[1], "```diff\n# terraform_data.large, continued:\n") {
		t.Errorf("page 3 does not say what it goes on with:\n%.600s", pages.Bodies[1])
	}
	for i, want := range []string{"(changes 1 to 2 of 3)", "(change 2 of 3)", "(changes 2 to 3 of 3)"} {
		if !strings.Contains(pages.Bodies[i], want+"</summary>") {
			t.Errorf("page %d does not say that it has %s:\n%.600s", i+2, want, pages.Bodies[i])
		}
	}
	if n := strings.Count(all, "! terraform_data.large"); n != 1 {
		t.Errorf("the change begins %d times", n)
	}
}

func TestAGroupIsNamedAgainWhereItGoesOn(t *testing.T) {
	t.Parallel()
	var changes []operation.Change
	for _, region := range []string{"southeastasia", "westeurope"} {
		for i := range 900 {
			address := fmt.Sprintf(`module.stamp["%s"].terraform_data.r%04d`, region, i)
			changes = append(changes, updated(address, attribute("input", `"before"`, quote(strings.Repeat("v", 70)))))
		}
	}
	v := planned(target("src/a", "dev", operation.Planned, changeSet(changes...)))
	v.Regions = []string{"westeurope", "southeastasia"}
	pages := render.PlanPages(v)
	if len(pages.Bodies) < 2 || len(pages.Left) > 0 {
		t.Fatalf("%d pages, left %+v", len(pages.Bodies), pages.Left)
	}
	for i, body := range pages.Bodies {
		if !strings.Contains(body, "# the same in southeastasia:\n") {
			t.Errorf("page %d does not say where else it is done:\n%.600s", i+2, body)
		}
	}
}

func TestWhatNoCommentHasRoomForIsCountedWithTheCommandThatHelps(t *testing.T) {
	t.Parallel()
	v := planned(numbered("src/a", 1500, 200), numbered("src/b", 1200, 200), numbered("src/c", 10, 200))
	pages := render.PlanPages(v)
	if len(pages.Bodies) != render.MaxPages || len(pages.Left) == 0 {
		t.Fatalf("%d pages, left %+v", len(pages.Bodies), pages.Left)
	}
	all := strings.Join(pages.Bodies, "")
	shown := regexp.MustCompile(`src/[abc]-\d+-`).FindAllString(all, -1)
	slices.Sort(shown)
	shown = slices.Compact(shown)
	left := 0
	for _, one := range pages.Left {
		left += one.Changes
	}
	if len(shown)+left != 2710 {
		t.Errorf("%d changes are shown and %d are said to be left, of 2,710", len(shown), left)
	}
	want := fmt.Sprintf("**Not in these comments:** %s of the 1,200 changes of `src/b` and all of the 10 changes of `src/c`. "+
		"To have one root shown before the others, comment `/plan dev src/b` or `/plan dev src/c`.", thousands(pages.Left[0].Changes))
	if last := pages.Bodies[len(pages.Bodies)-1]; !strings.Contains(last, want) {
		t.Errorf("the last page lacks %q:\n%s", want, last[len(last)-800:])
	}
	for i, body := range pages.Bodies {
		checkPage(t, body, i+2, render.MaxPages+1)
	}
	for name, content := range map[string]string{"comment": render.PullComment(posted(v)), "check": render.PlanCheck(posted(v)).Summary} {
		if !strings.Contains(content, want) {
			t.Errorf("the %s lacks %q", name, want)
		}
	}
	t.Run("and the command shows that root in full", func(t *testing.T) {
		t.Parallel()
		first := render.PlanPages(with(v, func(v *render.PullView) { v.First = "src/b" }))
		if !strings.Contains(strings.Join(first.Bodies, ""), "src/b-1199-") || !strings.Contains(first.Bodies[0], "src/b-0-") {
			t.Error("src/b is not shown first and whole")
		}
	})
	t.Run("and where no command helps, that is said", func(t *testing.T) {
		t.Parallel()
		capped := numbered("src/a", 2000, 300)
		capped.ChangeSet.Omitted = 3000
		pages := render.PlanPages(planned(capped))
		if last := pages.Bodies[len(pages.Bodies)-1]; !strings.Contains(last, "of the 5,000 changes of `src/a`. To have all of it shown, divide the pull request.") {
			t.Errorf("it does not say what to do:\n%s", last[len(last)-800:])
		}
	})
}

func thousands(n int) string {
	if n < 1000 {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}

func TestTheFirstCommentAndTheCheckLeadToTheFurtherOnes(t *testing.T) {
	t.Parallel()
	v := planned(numbered("src/a", 900, 50))
	v.Pages = render.PlanPages(v)
	n := len(v.Pages.Bodies)
	for name, content := range map[string]string{"comment": render.PullComment(v), "check": render.PlanCheck(v).Summary} {
		if !strings.Contains(content, fmt.Sprintf("**The plan in full** follows in %d further comments.", n)) {
			t.Errorf("before they are there, the %s does not announce them:\n%.1500s", name, content)
		}
	}
	v = posted(v)
	for name, content := range map[string]string{"comment": render.PullComment(v), "check": render.PlanCheck(v).Summary} {
		for i := range n {
			if want := fmt.Sprintf("[%d of %d](%s%d)", i+2, n+1, manyURL, 101+i); !strings.Contains(content, want) {
				t.Errorf("the %s lacks %s", name, want)
			}
		}
	}
	if size := encodedLength(t, render.PullComment(v)); size > render.MaxComment {
		t.Errorf("the comment has %d bytes", size)
	}
	some := v
	some.Pages = &render.Pages{Bodies: v.Pages.Bodies, URLs: v.Pages.URLs[:1]}
	if strings.Contains(render.PullComment(some), manyURL) {
		t.Error("it links to some of them, and would be written again for each")
	}
}

func TestAStalePlanIsSaidToBeSoInTheFirstCommentOnly(t *testing.T) {
	t.Parallel()
	v := planned(numbered("src/a", 900, 50))
	stale := with(v, func(v *render.PullView) {
		v.Outdated = &render.Outdated{Root: "src/a", From: 4, To: 5, Operation: 12, Pull: 40}
	})
	if diff := cmp.Diff(render.PlanPages(v), render.PlanPages(stale)); diff != "" {
		t.Errorf("a further comment is written for it (-fresh +stale):\n%s", diff)
	}
}

func TestNoFurtherCommentShowsWhatIsMasked(t *testing.T) {
	t.Parallel()
	const secret = "hunter2-correct-horse"
	one := numbered("src/a", 900, 60)
	for i := range one.ChangeSet.Changes {
		change := &one.ChangeSet.Changes[i]
		change.Attributes = append(change.Attributes, attribute("text", quote("x\n"), quote("x\n"+strings.Repeat("y", i%90)+secret+"\n")))
	}
	v := planned(one)
	v.Mask = []string{`hunter2-\S+`}
	pages := render.PlanPages(v)
	if len(pages.Bodies) < 2 {
		t.Fatalf("%d pages", len(pages.Bodies))
	}
	for i, body := range pages.Bodies {
		if strings.Contains(body, "hunter2") || strings.Contains(body, "correct-horse") || !strings.Contains(body, "***") {
			t.Errorf("page %d shows a part of it", i+2)
		}
	}
}

func TestARetiredPageSaysSoInOneLine(t *testing.T) {
	t.Parallel()
	got := render.RetiredPage(planned(numbered("src/a", 1, 1)), 3)
	want := "**Not needed by the plan of [`4f3a2b1`](" + web + "/acme/network/commit/" + head + ").** [The first comment](" + firstURL + ") says what holds now.\n" +
		"<!-- switchyard:pull:41:page:3 -->\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// pageTexts are further comments without the middle of their blocks, for the golden files.
func pageTexts() map[string]string {
	targets := []operation.TargetResult{
		target("src/terraform", "dev", operation.Planned, everything()), numbered("src/dns", 500, 90), numbered("src/monitoring", 400, 90),
	}
	v := posted(planned(targets...))
	texts := map[string]string{"page first comment": excerpt(render.PullComment(v)), "page check": excerpt(render.PlanCheck(v).Summary)}
	for i, body := range v.Pages.Bodies {
		texts[fmt.Sprintf("page %d", i+2)] = excerpt(body)
	}
	v = posted(planned(numbered("src/dns", 2000, 300), numbered("src/monitoring", 400, 90)))
	texts["page last of too many"] = excerpt(v.Pages.Bodies[render.MaxPages-1])
	return texts
}

// excerpt is a text whose longest run of lines of a kind are left out.
func excerpt(content string) string {
	const kept = 6
	var short []string
	run := 0
	for line := range strings.SplitSeq(content, "\n") {
		if strings.HasPrefix(line, "! terraform_data.r") || strings.HasPrefix(line, "!     input") || strings.HasPrefix(line, "+     input") ||
			strings.HasPrefix(line, "-     input") {
			if run++; run > kept {
				continue
			}
		} else {
			if run > kept {
				short = append(short, fmt.Sprintf("(… %d lines …)", run-kept))
			}
			run = 0
		}
		short = append(short, line)
	}
	return strings.Join(short, "\n")
}

// checkPages holds further comments to what checkHarmless holds the other texts to.
func checkPages(t *testing.T, foreign string) {
	t.Helper()
	pagesOf := func(foreign string, room int) []string {
		f := fill(foreign)
		op := f.operation(operation.Plan, operation.Succeeded)
		v := pull(&op)
		v.CommentURL, v.Regions = firstURL, []string{"g" + foreign, "h" + foreign}
		return render.PagesOf(v, room).Bodies
	}
	const small = 6000 // so that its changes are divided between pages
	for i, body := range pagesOf(foreign, small) {
		for _, harm := range harms(body) {
			t.Errorf("page %d with %q has %s", i+2, foreign, harm)
		}
		if strings.Count(body, "<!--") != 1 || !strings.HasSuffix(body, "\n"+render.PageMarker(41, i+2)+"\n") || len(body) > render.MaxComment {
			t.Errorf("page %d with %q has %d bytes, or another mark than its own", i+2, foreign, len(body))
		}
	}
	if len(foreign) > 200 {
		return
	}
	const one = 1 << 20 // room for all of it on one page: else each has other lines on its pages
	tamed, hostile := pagesOf(tame(foreign), one), pagesOf(foreign, one)
	if len(tamed) != 1 || len(hostile) != 1 {
		t.Fatalf("with %q there are %d pages, and tamed %d", foreign, len(hostile), len(tamed))
	}
	structure := func(body string) string { return skeleton(markdown.Parser().Parse(text.NewReader([]byte(body)))) }
	if diff := cmp.Diff(structure(tamed[0]), structure(hostile[0])); diff != "" {
		t.Errorf("a page with %q has another structure (-tame +hostile):\n%s\n%s", foreign, diff, hostile[0])
	}
}

func BenchmarkPlanPages(b *testing.B) {
	v := planned(numbered("src/a", 2000, 100), numbered("src/b", 2000, 100), numbered("src/c", 2000, 100))
	for b.Loop() {
		render.PlanPages(v)
	}
}
