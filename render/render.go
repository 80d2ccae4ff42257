// Package render turns decisions, operations and results into the Markdown that people read in
// comments, check runs and deployments. deploy calls it with views; it decides nothing, reads no
// clock and makes harmless every text that it did not write itself.
//
// A text has always the same parts, in this order: what happened and why in one line, numbers for
// each root, what is destroyed or replaced, what nobody reviewed, errors, the folded plans, what to
// do next, and small print. Where a limit of GitHub is near, the plans give way first and what is
// destroyed last.
package render

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/gitflow"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
)

// Limits of GitHub, in characters. We keep them in the length of the text as a JSON string, which is
// never less than its bytes or its characters.
const (
	// MaxComment is the longest comment; the API answers "body is too long (maximum is 65536 characters)".
	MaxComment = 65_536
	// MaxCheckText is the longest summary, and the longest text, of a check run: https://docs.github.com/en/rest/checks/runs
	MaxCheckText = 65_535
	// MaxStepSummary is the longest summary of one step of a workflow, in bytes:
	// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#step-isolation-and-limits
	MaxStepSummary = 1 << 20
	// MaxTitle is the longest title of a check run that we write.
	MaxTitle = 255
	// MaxDescription is the longest description of a deployment status: https://docs.github.com/en/rest/deployments/statuses
	MaxDescription = 140
)

// Check is the output of a check run: a title in plain text, the rest in Markdown.
type Check struct {
	Title   string // at most MaxTitle bytes
	Summary string // at most MaxCheckText bytes
	Text    string // at most MaxCheckText bytes; empty where there is nothing more to say
}

// Marker is the hidden text by which the one comment of a pull request is found again. It is in
// PullComment exactly once, whatever the comment shows.
func Marker(pull int) string { return "<!-- switchyard:pull:" + strconv.Itoa(pull) + " -->" }

// PullComment is the one comment of a pull request, which is edited as things go on. It tells the
// newest apply, or the plan where there is none yet.
func PullComment(v PullView) string {
	marker := Marker(v.Pull)
	limit := MaxComment - weight(marker+"\n")
	v = v.masked()
	told := planStory(v)
	shown := planResult(v)
	resultURL := v.ResultURL
	small := planFooter(v)
	earlier, asks, let := fixed(""), fixed(""), fixed("")
	errors := planErrors(v)
	proof := v.Promotion
	var strange []*piece
	if apply, ok := newestApply(v); ok {
		told = applyStory(apply)
		small = applyFooter(apply)
		earlier = otherApplies(v)
		if apply.Operation.Result != nil {
			shown, resultURL = apply.Operation.Result, apply.ResultURL
			strange, asks, let = surprises(apply, limit), blocked(apply, limit), tolerated(apply, limit)
		} else if apply.Operation.State == operation.Succeeded {
			shown = nil // there was nothing left of the plan to apply
		}
		errors = applyErrors(apply)
		proof = apply.Promotion
	}
	alike := grouped(shown, v.Regions)
	pieces := []*piece{
		refusal(v), fixed(told.banner), approval(v), earlier, promotion(proof),
		table(shown, limit), risks(shown, resultURL, limit), destroys(shown, resultURL, limit), parity(alike, limit), asks,
	}
	pieces = append(pieces, strange...)
	pieces = append(pieces, errors...)
	pieces = append(pieces, notes(shown), furtherComments(v))
	pieces = append(pieces, plans(shown, alike, v.wholeAt(resultURL), limit)...)
	pieces = append(pieces, let, fixed(told.next), afterwards(v), small)
	return fit(limit, pieces...) + marker + "\n"
}

// GitflowCheck is the check that says whether these branches may merge.
func GitflowCheck(d gitflow.Decision) Check {
	title := plain(d.Title, MaxTitle)
	if title == "" {
		title = string(d.Verdict)
	}
	var paragraphs []string
	for _, reason := range d.Reasons {
		paragraphs = append(paragraphs, sentence(reason, ""))
	}
	if len(d.Bases) > 0 {
		paragraphs = append(paragraphs, "This branch may merge to: "+list(codes(d.Bases))+".")
	}
	if d.Confirm != "" {
		paragraphs = append(paragraphs, sentence(d.Confirm, ""))
	}
	if len(d.Later) > 0 {
		paragraphs = append(paragraphs, "Afterwards: "+sentences(d.Later))
	}
	if d.Remedy != "" {
		paragraphs = append(paragraphs, afterNext(d.Remedy))
	}
	if d.Advice {
		paragraphs = append(paragraphs, "This is advice only: the repository has no "+code(configPath)+".")
	}
	if len(paragraphs) == 0 {
		paragraphs = append(paragraphs, "Nothing to say about these branches.")
	}
	return Check{Title: cut(title, MaxTitle), Summary: fit(MaxCheckText, fixed(strings.Join(paragraphs, "\n\n")))}
}

// configPath is where the configuration of a repository is.
const configPath = ".github/switchyard.yml"

// PlanCheck is the check of a plan: the numbers and what is destroyed in the summary, the plans in the text.
func PlanCheck(v PullView) Check {
	v = v.masked()
	told := planStory(v)
	result := planResult(v)
	alike := grouped(result, v.Regions)
	summary := []*piece{
		fixed(told.banner), approval(v), promotion(v.Promotion),
		table(result, MaxCheckText), risks(result, v.ResultURL, MaxCheckText),
		destroys(result, v.ResultURL, MaxCheckText), parity(alike, MaxCheckText), furtherComments(v), fixed(told.next), planFooter(v),
	}
	text, _ := checkTextPieces(v, alike)
	return check(told, summary, text)
}

// checkTextPieces are the parts of the text of a plan's check, and those of them that are plans.
func checkTextPieces(v PullView, alike plan.Grouping) (all, details []*piece) {
	result := planResult(v)
	details = plans(result, alike, v.wholeAt(v.ResultURL), MaxCheckText)
	return append(append(planErrors(v), notes(result)), details...), details
}

// ApplyCheck is the check of an apply, on its commit.
func ApplyCheck(v ApplyView) Check {
	v = v.completed("", "", operation.Repository{}, v.Now).masked()
	told := applyStory(v)
	result := v.Operation.Result
	alike := grouped(result, v.Regions)
	summary := []*piece{
		fixed(told.banner), promotion(v.Promotion), table(result, MaxCheckText), risks(result, v.ResultURL, MaxCheckText),
		destroys(result, v.ResultURL, MaxCheckText), parity(alike, MaxCheckText), blocked(v, MaxCheckText), fixed(told.next), applyFooter(v),
	}
	text := append(surprises(v, MaxCheckText), applyErrors(v)...)
	text = append(text, tolerated(v, MaxCheckText), notes(result))
	return check(told, summary, append(text, plans(result, alike, v.ResultURL, MaxCheckText)...))
}

func check(told story, summary, text []*piece) Check {
	c := Check{Title: cut(plain(told.title, MaxTitle), MaxTitle), Summary: fit(MaxCheckText, summary...)}
	if whole := fit(MaxCheckText, text...); strings.TrimSpace(whole) != "" {
		c.Text = whole
	}
	return c
}

// Notice is the new comment that calls a person, because an edit of the old one notifies nobody: an
// apply failed, was interrupted, or waits for a yes.
func Notice(v ApplyView) string {
	v = v.completed("", "", operation.Repository{}, v.Now).masked()
	told := applyStory(v)
	result := v.Operation.Result
	const limit = MaxComment - 200 // the caller adds a hidden marker
	pieces := []*piece{fixed(told.banner)}
	if v.Operation.State != operation.Unconfirmed {
		pieces = append(pieces, applyErrors(v)...)
		return fit(limit, append(pieces, fixed(told.next), applyFooter(v))...)
	}
	pieces = append(pieces, fixed(told.next), promotion(v.Promotion), risks(questioned(result), v.ResultURL, limit), blocked(v, limit))
	pieces = append(pieces, surprises(v, limit)...)
	pieces = append(pieces, tolerated(v, limit), notes(result))
	if len(unexpected(result)) == 0 { // the doubt is about the whole plan
		pieces = append(pieces, table(result, limit), destroys(result, v.ResultURL, limit))
		pieces = append(pieces, plans(result, grouped(result, v.Regions), v.ResultURL, limit)...)
	}
	return fit(limit, append(pieces, applyFooter(v))...)
}

// StepSummary is the whole of a result for the summary of a step of a workflow, which has more room than
// a comment or a check.
func StepSummary(v ApplyView) string {
	v = v.completed("", "", operation.Repository{}, v.Now).masked()
	result := v.Operation.Result
	alike := grouped(result, v.Regions)
	pieces := []*piece{
		table(result, MaxStepSummary), risks(result, v.ResultURL, MaxStepSummary), destroys(result, v.ResultURL, MaxStepSummary),
		parity(alike, MaxStepSummary), blocked(v, MaxStepSummary),
	}
	pieces = append(pieces, surprises(v, MaxStepSummary)...)
	pieces = append(pieces, tolerated(v, MaxStepSummary))
	pieces = append(pieces, errorsOf(v.Operation)...)
	pieces = append(pieces, notes(result))
	return fit(MaxStepSummary, append(pieces, plans(result, alike, v.ResultURL, MaxStepSummary)...)...)
}

// GaveUpNotice says that Switchyard could not do its own work on a pull request or issue; reason is for whoever runs it.
func GaveUpNotice(reason string) string {
	return fit(MaxComment-200, //nolint:mnd // the caller adds a hidden marker
		fixed("**Switchyard could not handle the newest event here.** It tried several times: "+
			sentence(prose(reason), "it does not know why.")),
		fixed("Next: comment "+code("/plan")+" to have this pull request looked at again. "+
			"If that fails too, tell the people who run Switchyard."))
}

// RefusedNotice is the comment about a push that may not be applied.
func RefusedNotice(v RefusedView) string {
	l := links{web: v.WebURL, repo: v.Repository}
	banner := "**Nothing was applied to " + prose(v.Environment) + ".** " + sentences(v.Gitflow.Reasons)
	if v.Commit != "" {
		banner += " The commit is " + l.commit(v.Commit) + branchWords(v.Branch) + "."
	}
	next := ""
	if v.Gitflow.Remedy != "" {
		next = afterNext(v.Gitflow.Remedy)
	}
	return fit(MaxComment-200, fixed(banner), fixed(next)) //nolint:mnd // the caller adds a hidden marker
}

// ConfigProblem is the text about a configuration that cannot be used, one problem a line.
func ConfigProblem(problem string) string {
	return fit(MaxComment-200, //nolint:mnd // the caller adds a hidden marker
		fixed("**Nothing is planned or applied:** "+code(configPath)+" on the default branch cannot be used."),
		problemList(problem), fixed(configNext))
}

const configNext = "Next: correct it in a pull request to the default branch; `switchyard check` shows the same problems offline."

// problemList shows problems, each of which begins with its position.
func problemList(problem string) *piece {
	var lines []string
	for line := range strings.SplitSeq(problem, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, "- "+prose(strings.TrimPrefix(line, "- "))+"\n")
		}
	}
	show := func(k int) string {
		text := strings.Join(lines[:k], "")
		if k < len(lines) {
			text += "- and " + number(len(lines)-k) + " more\n"
		}
		return text
	}
	return shrinking(rankWords, len(lines), MaxComment, show, several(len(lines), "problem", "problems")+".")
}

// DeploymentDescription is the short text of a deployment and of its states, at most MaxDescription bytes.
func DeploymentDescription(o operation.Operation) string {
	what := ""
	switch o.State {
	case operation.Queued:
		what = "Waiting"
	case operation.Running:
		what = "Applying"
	case operation.Unconfirmed:
		what = "Not changed: a person has to say yes (/apply " + o.Environment + " " + digest(o.Question) + ")"
	case operation.Succeeded:
		what = "Applied"
		if words := spoken(total(o.Result), past); words != "" {
			what += ": " + words
		}
	case operation.Failed:
		what = "Failed"
	case operation.Interrupted:
		what = "Interrupted: it is not known how far it came"
	case operation.Cancelled:
		what = "Cancelled"
	case operation.Gathered:
		what = "Gathered into a newer apply"
	case operation.Superseded:
		what = "Overtaken by a newer commit"
	}
	numbers := o.Pulls
	if len(numbers) == 0 && o.Pull != 0 {
		numbers = []int{o.Pull}
	}
	if len(numbers) > 0 {
		what += " · " + pulls(numbers)
	}
	if o.Actor != "" {
		what += " · " + o.Actor
	}
	return cut(plain(what, MaxDescription), MaxDescription)
}

// cut keeps whole characters in at most limit bytes.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	end := limit - len("…")
	for end > 0 && text[end]&0xc0 == 0x80 { //nolint:mnd // a byte within a UTF-8 sequence
		end--
	}
	return text[:end] + "…"
}

// completed fills in what a view of an apply may leave to what surrounds it.
func (v ApplyView) completed(web, resultURL string, repo operation.Repository, now time.Time) ApplyView {
	if v.WebURL == "" {
		v.WebURL = web
	}
	if v.ResultURL == "" {
		v.ResultURL = resultURL
	}
	if v.Repository == (operation.Repository{}) {
		v.Repository = v.Operation.Repository
	}
	if v.Repository == (operation.Repository{}) {
		v.Repository = repo
	}
	if v.Now.IsZero() {
		v.Now = now
	}
	return v
}

// masked hides what the configuration's patterns match, before anything is cut.
func (v PullView) masked() PullView {
	hide := newMask(v.Mask)
	if hide.idle() {
		return v
	}
	if v.Plan != nil {
		shown := hide.operation(*v.Plan)
		v.Plan = &shown
	}
	v.Applies = slices.Clone(v.Applies)
	for i := range v.Applies {
		v.Applies[i].Mask = v.Mask
		v.Applies[i] = v.Applies[i].masked()
	}
	v.Mask = nil
	return v
}

// masked hides what the configuration's patterns match, before anything is cut.
func (v ApplyView) masked() ApplyView {
	hide := newMask(v.Mask)
	if hide.idle() {
		return v
	}
	v.Operation = hide.operation(v.Operation)
	if v.Ahead != nil {
		ahead := hide.operation(*v.Ahead)
		v.Ahead = &ahead
	}
	v.Promotion = slices.Clone(v.Promotion)
	for i, proof := range v.Promotion {
		v.Promotion[i].Differs, v.Promotion[i].Problem = hide.each(proof.Differs, hide.name), hide.name(proof.Problem)
		v.Promotion[i].Baseline = hide.each(proof.Baseline, hide.name)
	}
	v.Mask = nil
	return v
}

func codes(names []string) []string {
	const most = 30
	var words []string
	for i, name := range names {
		if i == most {
			words = append(words, several(len(names)-i, "other", "others"))
			break
		}
		words = append(words, code(name))
	}
	return words
}

// sentences joins foreign sentences, the first few of them.
func sentences(texts []string) string {
	const most = 10
	var words []string
	for i, text := range texts {
		if i == most {
			break
		}
		if text != "" {
			words = append(words, sentence(text, ""))
		}
	}
	return strings.Join(words, " ")
}
