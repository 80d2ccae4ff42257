package render

import (
	"slices"
	"strconv"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
)

// MaxPages is how many further comments a plan may have. GitHub allows 80 writes of content a minute and 500 an hour
// (https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits): nine leave the
// others most of a minute, and fifty such plans an hour's. With the first they are ten, more than which nobody reads.
const MaxPages = 9

// Pages is a plan in full, divided between further comments.
type Pages struct {
	Bodies []string // of the comments in their order, each with the mark of PageMarker; at most MaxPages
	URLs   []string // of the comments, as far as they are there
	Left   []Left   // what is in none of them
}

// Left is what is in none of the comments of one target's plan.
type Left struct {
	Target  operation.Target
	Changes int    // how many
	Of      int    // how many the target has
	Command string // shows this root before the others, and so in full; empty where there is no such command
}

// PageMarker is the hidden text by which a further comment is found again; the one comment of the pull request is the first.
func PageMarker(pull, page int) string {
	return "<!-- switchyard:pull:" + strconv.Itoa(pull) + ":page:" + strconv.Itoa(page) + " -->"
}

// PlanPages is the plan of a pull request in further comments; nil where the one comment, or the text of the check, has
// room for all of it, where there is none, and where the pull request is told by an apply.
func PlanPages(v PullView) *Pages {
	v.Pages = nil
	result := planResult(v)
	if result == nil || len(v.Applies) > 0 || !v.Plan.State.Ended() {
		return nil
	}
	v = v.masked()
	result = planResult(v)
	alike := grouped(result, v.Regions)
	text, details := checkTextPieces(v, alike) // it has room for what the comment has room for: that says more beside the plans
	if giveWay(MaxCheckText, text); allWhole(details) {
		return nil
	}
	return paged(v, firstTarget(result.Targets, v.First), repeatsIn(alike), pageRoom(v))
}

func allWhole(pieces []*piece) bool {
	return !slices.ContainsFunc(pieces, func(p *piece) bool { return !p.whole() })
}

// firstTarget is targets with those of a root before the others.
func firstTarget(targets []operation.TargetResult, root string) []operation.TargetResult {
	return slices.SortedStableFunc(slices.Values(targets), func(a, b operation.TargetResult) int {
		switch {
		case root == "" || (a.Target.Root == root) == (b.Target.Root == root):
			return 0
		case a.Target.Root == root:
			return -1
		}
		return 1
	})
}

// paged divides the plans of targets between comments whose sections may weigh so much.
func paged(v PullView, targets []operation.TargetResult, shownIn repeats, room int) *Pages {
	p := &pager{room: room, most: MaxPages}
	var pages Pages
	missing := 0
	for _, target := range targets {
		all := len(target.ChangeSet.Changes)
		if all+target.ChangeSet.Omitted == 0 {
			continue
		}
		left := Left{Target: target.Target, Changes: p.target(target, shownIn) + target.ChangeSet.Omitted, Of: all + target.ChangeSet.Omitted}
		if left.Changes == 0 {
			continue
		}
		// Only those are looked at whose command could be named: to see whether one helps takes all its text.
		if missing++; missing <= maxLeft && target.ChangeSet.Omitted == 0 && left.Target.Root != v.First && len(targets) > 1 &&
			plainRoot(left.Target.Root) && (&pager{room: room, most: MaxPages}).target(target, shownIn) == 0 {
			left.Command = "/plan " + left.Target.Environment + " " + left.Target.Root
		}
		pages.Left = append(pages.Left, left)
	}
	n := len(p.pages) + 1
	for i, sections := range p.pages {
		pieces := []*piece{pageHead(v, i+2, n)} //nolint:mnd // the one comment is the first
		for _, section := range sections {
			pieces = append(pieces, fixed(section.text()))
		}
		if i == len(p.pages)-1 {
			pieces = append(pieces, fixed(leftWords(pages.Left)))
		}
		marker := PageMarker(v.Pull, i+2) //nolint:mnd // see above
		pages.Bodies = append(pages.Bodies, fit(MaxComment-weight(marker+"\n"), pieces...)+marker+"\n")
	}
	return &pages
}

// plainRoot reports whether a root can be written into a command as it is.
func plainRoot(root string) bool {
	return root != "" && root == clean(root, false) && len(root) <= maxName && !strings.ContainsAny(root, " `\"'\\")
}

// maxLeft is how many targets are named of which something is in no comment.
const maxLeft = 3

// leftWords says what is in none of the comments, and what helps; empty where all is in them.
func leftWords(left []Left) string {
	if len(left) == 0 {
		return ""
	}
	var words, commands []string
	rest := 0
	for i, one := range left {
		if i >= maxLeft {
			rest += one.Changes
			continue
		}
		some := number(one.Changes) + " of the " + number(one.Of) + " changes"
		if one.Changes == one.Of {
			some = "all of the " + several(one.Of, "change", "changes")
		}
		words = append(words, some+" of "+code(one.Target.Root))
		if one.Command != "" {
			commands = append(commands, code(one.Command))
		}
	}
	if rest > 0 {
		words = append(words, number(rest)+" of other roots")
	}
	text := "**Not in these comments:** " + list(words) + ". "
	if len(commands) == 0 {
		return text + "To have all of it shown, divide the pull request."
	}
	return text + "To have one root shown before the others, comment " + strings.Join(commands, " or ") + "."
}

// pageHead says what a further comment is a part of.
func pageHead(v PullView, page, of int) *piece {
	l := links{web: v.WebURL, repo: v.Repository}
	text := "**Plan of " + prose(v.Plan.Environment)
	if v.Plan.Head != "" {
		text += " at " + l.commit(v.Plan.Head)
	}
	if v.Plan.Base != "" {
		text += " merged with " + l.commit(v.Plan.Base)
	}
	text += ", " + strconv.Itoa(page) + " of " + strconv.Itoa(of) + ".**"
	first := "1 of " + strconv.Itoa(of)
	return fixed(text + " " + linkTo(first, v.CommentURL) + " says what the plan does, and what to do next.")
}

// RetiredPage is what a further comment shows that the newest plan does not need.
func RetiredPage(v PullView, page int) string {
	l := links{web: v.WebURL, repo: v.Repository}
	words := "**Not needed any more.**"
	if v.Plan != nil && v.Plan.Head != "" {
		words = "**Not needed by the plan of " + l.commit(v.Plan.Head) + ".**"
	}
	return words + " " + linkTo("The first comment", v.CommentURL) + " says what holds now.\n" + PageMarker(v.Pull, page) + "\n"
}

// linkTo is words that lead to a page; only the words where its address is not known.
func linkTo(words, address string) string {
	if safe := safeAddress(address); safe != "" {
		return "[" + words + "](" + safe + ")"
	}
	return words
}

// furtherComments leads from the one comment, and from the check, to the comments with the plan in full.
func furtherComments(v PullView) *piece {
	if v.Pages == nil || len(v.Applies) > 0 {
		return fixed("")
	}
	n := len(v.Pages.Bodies)
	what := "**The plan in full**"
	if len(v.Pages.Left) > 0 {
		what = "**More of the plan**"
	}
	if n == 0 {
		return fixed(leftWords(v.Pages.Left))
	}
	text := what + " follows in " + several(n, "further comment", "further comments") + "."
	if len(v.Pages.URLs) == n {
		var words []string
		for i, address := range v.Pages.URLs {
			words = append(words, linkTo(strconv.Itoa(i+2)+" of "+strconv.Itoa(n+1), address)) //nolint:mnd // the one comment is the first
		}
		text = what + " is in " + several(n, "further comment", "further comments") + ": " + list(words) + "."
	}
	if left := leftWords(v.Pages.Left); left != "" {
		text += " " + left
	}
	return fixed(text)
}

// wholeAt is the page with the whole plan: the first of the further comments where there are some.
func (v PullView) wholeAt(otherwise string) string {
	if v.Pages == nil || len(v.Applies) > 0 || len(v.Pages.URLs) == 0 || len(v.Pages.URLs) < len(v.Pages.Bodies) {
		return otherwise
	}
	return v.Pages.URLs[0]
}

// pager fills comments with the plans of targets, one after the other.
type pager struct {
	room  int // what the sections of one comment may weigh
	most  int // comments
	pages [][]*section
	used  int // by the sections of the newest comment but for the one that is open
	open  *section
	full  bool
}

// pageRoom is what the sections of one comment may weigh, beside the longest that all else in it can be.
func pageRoom(v PullView) int {
	const longestLeft = 6000 // names and commands of a few roots, and words; fit cuts what would be longer
	head := pageHead(v, MaxPages+1, MaxPages+1)
	return MaxComment - weight(PageMarker(v.Pull, MaxPages+1)+"\n") - length([]*piece{head}) - longestLeft
}

// section is a part of the plan of one target, as one folded block.
type section struct {
	target      operation.TargetResult
	first, last int // which changes of it, from 1; of is how many there are
	of          int
	note        string // stands alone where a target is the same as another
	lines       []string
	weight      int // of the lines
	run         int // the longest run of backticks in them
}

func (s *section) text() string {
	if s.note != "" {
		return s.note
	}
	return "<details><summary>" + s.summary() + "</summary>\n\n" + block("diff", strings.Join(s.lines, "\n")) + "\n</details>"
}

func (s *section) summary() string {
	text := htmlCode(s.target.Target.Root) + " in " + htmlCode(s.target.Target.Environment) + ": " +
		spokenOr(s.target.ChangeSet.Counts, tenseOf(s.target), "nothing but reads")
	if s.last == 0 || s.first <= 1 && s.last == s.of {
		return text
	}
	if s.first == s.last {
		return text + " (change " + number(s.last) + " of " + number(s.of) + ")"
	}
	return text + " (changes " + number(s.first) + " to " + number(s.last) + " of " + number(s.of) + ")"
}

// size is what the section weighs with lines of that weight and run of backticks more.
func (s *section) size(more, run int) int {
	const around = 200 // markup, and numbers that grow
	fence := max(3, max(s.run, run)+1)
	return weight(s.note) + weight(s.summary()) + s.weight + more + 2*fence + around
}

// target adds the plan of a target and returns how many of its changes have found no room.
func (p *pager) target(target operation.TargetResult, shownIn repeats) int {
	all := len(target.ChangeSet.Changes)
	if other, ok := shownIn.same(target); ok {
		note := code(target.Target.Root) + " in " + code(target.Target.Environment) + ": the same as " + code(other.Root) + "."
		p.begin(&section{note: note, target: target})
		p.close()
		return p.lost(all)
	}
	groups, after := shownIn.once(target)
	of := 0
	for _, group := range groups {
		of += len(group.changes)
	}
	p.begin(&section{target: target, of: of})
	at := 0
	for _, group := range groups {
		var head []string
		if group.head != "" {
			head = []string{"# " + oneLine(group.head) + ":"}
		}
		for i, change := range group.changes {
			at++
			if !p.change(change, at, head, i == 0) {
				return of - at + 1
			}
		}
	}
	var words []string
	for _, word := range append(after, omittedWords(target.ChangeSet.Omitted)...) {
		words = append(words, "# "+oneLine(word))
	}
	p.write(words, nil, 0)
	p.close()
	return 0
}

// lost is how many changes have found no room, where it is all or none.
func (p *pager) lost(all int) int {
	if p.full {
		return all
	}
	return 0
}

// change writes the change that is the at-th of its target, on one page where it fits on one; false when there is no
// room for all of it. head stands before the first one of its group, and before it where a page begins with it.
func (p *pager) change(change operation.Change, at int, head []string, first bool) bool {
	if p.full {
		return false
	}
	var text strings.Builder
	writeChange(&text, change, values)
	lines := strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
	size, run := 0, 0
	for i, line := range lines {
		lines[i] = bounded(line)
		size += lineWeight(lines[i])
		run = max(run, longestRun(lines[i]))
	}
	const worth = 2 // a change of less than half a page is not divided
	if !p.fits(size, run) && !p.fresh() && size < p.room/worth && !p.turn() {
		return false
	}
	if p.open.first == 0 {
		p.open.first = at
	}
	if first || len(p.open.lines) == 0 {
		lines = slices.Concat(head, lines)
	}
	p.write(lines, append(slices.Clone(head), "# "+oneLine(change.Address)+", continued:"), at)
	return !p.full
}

// write adds lines of the at-th change, 0 for none, to the open section, and turns the page where one does not fit; again
// stands before those that follow.
func (p *pager) write(lines, again []string, at int) {
	for _, line := range lines {
		if p.full {
			return
		}
		run := longestRun(line)
		if !p.fits(lineWeight(line), run) && !p.fresh() {
			if !p.turn() {
				return
			}
			p.open.first = at
			for _, line := range again {
				p.put(line, at)
			}
		}
		p.put(line, at)
	}
}

func (p *pager) put(line string, at int) {
	p.open.lines = append(p.open.lines, line)
	p.open.weight += lineWeight(line)
	p.open.run = max(p.open.run, longestRun(line))
	p.open.last = max(p.open.last, at)
}

// fresh reports whether nothing is on the newest page yet.
func (p *pager) fresh() bool { return p.used == 0 && len(p.open.lines) == 0 }

func (p *pager) fits(weight, run int) bool {
	return p.used+p.open.size(weight, run) <= p.room
}

// begin opens a section, on the newest page where that has room for more than its head.
func (p *pager) begin(s *section) {
	if p.full {
		return
	}
	const least = 1000 // what is worth a section
	p.open = s
	if len(p.pages) == 0 || len(p.pages[len(p.pages)-1]) > 0 && !p.fits(least, 0) {
		p.full = len(p.pages) == p.most
		if p.full {
			return
		}
		p.pages, p.used = append(p.pages, nil), 0
	}
	last := len(p.pages) - 1
	p.pages[last] = append(p.pages[last], s)
}

// close ends the open section.
func (p *pager) close() {
	if !p.full {
		p.used += p.open.size(0, 0)
	}
}

// turn continues on a new page; false when there is none.
func (p *pager) turn() bool {
	last := len(p.pages) - 1
	if len(p.open.lines) == 0 { // it begins on the next page
		p.pages[last] = p.pages[last][:len(p.pages[last])-1]
	}
	if len(p.pages) == p.most {
		p.full = true
		return false
	}
	p.open = &section{target: p.open.target, of: p.open.of}
	p.pages, p.used = append(p.pages, []*section{p.open}), 0
	return true
}

// bounded is a line short enough to be one of several on any page.
func bounded(line string) string {
	const most = 16_000
	if lineWeight(line) > most {
		return shorten(line, most/8) //nolint:mnd // no character weighs more
	}
	return line
}

// lineWeight is what a line weighs with its end, once it is made harmless.
func lineWeight(line string) int { return weight(clean(line, true)) + weight("\n") }
