package render_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/yuin/goldmark/text"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
)

const (
	lockID  = "9db590f1-b6fe-c5f2-2678-8804f089deba"
	otherID = "0c2f6f3e-6a0b-4a0e-9f5e-2f3d1c0b9a87"
	runURL  = web + "/acme/network/actions/runs/77"
)

var prodTarget = operation.Target{Root: "src/terraform", Environment: "prod"}

// hung is the apply to prod that took a lock.
func hung() *operation.Operation {
	op := applyOperation("prod", operation.Interrupted, nil)
	op.Branch, op.Started = "main", noon.Add(-13*time.Minute)
	return &op
}

// found is a state whose lock is held since twelve minutes.
func found(change ...func(*operation.StateLock)) *operation.StateLock {
	lock := &operation.StateLock{
		Backend: "azurerm", Place: "acmestate/tfstate/network-prod", Lease: operation.LeaseHeld, ETag: "0x8DC",
		Info: &operation.LockInfo{
			ID: lockID, Path: "tfstate/network-prod", Operation: "OperationTypeApply", Who: "runner@host-1", Version: "1.11.4",
			Created: "2026-11-21T11:48:00.5Z",
		},
		Size: 34_567, Modified: noon.Add(-3 * time.Hour), Lineage: "l", Serial: 12, Resources: 17,
	}
	for _, one := range change {
		one(lock)
	}
	return lock
}

func undescribed(lock *operation.StateLock) { lock.Info = nil }

func leased(state operation.LeaseState) func(*operation.StateLock) {
	return func(lock *operation.StateLock) { lock.Lease = state }
}

// oursDead is the lock that an apply of ours left behind.
func oursDead() render.LockedTarget {
	return render.LockedTarget{Target: prodTarget, Found: found(), Holder: render.LockHolder{
		Operation: hung(), Run: render.RunView{URL: runURL}, Life: render.Dead,
		Because: "GitHub says that its workflow run has ended (cancelled).",
	}}
}

func outsider() render.LockedTarget {
	t := oursDead()
	t.Found.Info.Who, t.Found.Info.Version = "ana@laptop", "1.9.8"
	t.Holder = render.LockHolder{
		Life: render.Unknown, Because: "No operation of Switchyard took it, so nothing here can tell whether who did still works.",
	}
	return t
}

func nameless() render.LockedTarget {
	return render.LockedTarget{Target: prodTarget, Found: found(undescribed), Holder: render.LockHolder{Life: render.Unknown}}
}

// met is the target of an apply that met the lock of oursDead.
func met() operation.TargetResult {
	t := lockedTarget()
	t.Target, t.Lock = prodTarget, found().Info
	return t
}

func missed() render.LockedTarget {
	return render.LockedTarget{Target: operation.Target{Root: "src/dns", Environment: "prod"}, Error: "The identity of the plan may not read " +
		"the state: it lacks the role Storage Blob Data Reader at acmestate."}
}

// lockView is the answer about some targets, of which the first is the one that it is about.
func lockView(verdict render.LockVerdict, targets []render.LockedTarget, change ...func(*render.LockView)) render.LockView {
	v := render.LockView{
		Repository: network, WebURL: web, Environment: "prod", By: "ben", Now: noon, Verdict: verdict, Targets: targets,
	}
	if verdict == render.LockAsk {
		v.Code, v.Until, v.Command = "7F3A9K2M", noon.Add(15*time.Minute), "/confirm 7F3A9K2M"
	}
	for _, one := range change {
		one(&v)
	}
	return v
}

func two(why ...string) func(*render.LockView) {
	return func(v *render.LockView) { v.Two, v.Why = true, why }
}

// breaking is the operation that breaks the lock of src/terraform in prod, with what its runner says.
func breaking(state operation.State, outcome operation.Outcome, broken *operation.Broken, change ...func(*operation.TargetResult)) operation.Operation {
	op := operation.Operation{
		ID: 31, Kind: operation.BreakLease, Repository: network, Environment: "prod", State: state, Attempt: 1, Roots: []string{"src/terraform"},
		Actor: "ben", Arrived: noon.Add(-time.Minute), Head: head,
		Lock: &operation.LockRequest{Comment: 5, Number: 41, By: "carol", Said: 6, SaidIn: 41, Reason: "the runner was killed, see #12", Of: 20, Break: &operation.LockTask{ID: lockID}},
	}
	if state != operation.Queued {
		op.Started = noon.Add(-40 * time.Second)
	}
	if state.Ended() {
		op.Ended = noon
	}
	if outcome != "" {
		t := operation.TargetResult{Target: prodTarget, Outcome: outcome, Broken: broken}
		for _, one := range change {
			one(&t)
		}
		op.Result = result(t)
	}
	return op
}

func report(op operation.Operation, change ...func(*render.LockReportView)) render.LockReportView {
	v := render.LockReportView{Repository: network, WebURL: web, Operation: op, Now: noon, Dead: hung()}
	for _, one := range change {
		one(&v)
	}
	return v
}

// takenOver is a lock that was broken as it should be.
func takenOver() *operation.Broken {
	return &operation.Broken{
		How: operation.ReleasedTaken, Snapshot: "2026-11-21T12:00:00.0000000Z", Taken: true, Cleared: true, Verified: true,
		Now: found(leased(operation.LeaseFree), undescribed),
	}
}

func leftBehind(broken *operation.Broken) *operation.Broken {
	broken.Made, broken.Left = []string{"terraform_data.first"}, []string{`module.stamp["westeurope"].azurerm_redis_cache.main`}
	broken.Now.Tainted = []string{"azurerm_storage_account.main"}
	broken.Now.Errored = []operation.ErroredState{
		{
			Place: "acmestate/tfstate/network-prod.errored-20-1", Serial: 13, Modified: noon.Add(-11 * time.Minute), Fits: true,
			Next: "az storage blob download --account-name acmestate --container-name tfstate --name network-prod.errored-20-1 --file errored.tfstate\n" +
				"terraform state push errored.tfstate",
		},
		{Place: "/var/lib/switchyard/20/errored.tfstate", Serial: 9, Why: "Its serial is 9, and the state that is there has 12."},
	}
	return broken
}

func drifted(t *operation.TargetResult) {
	t.ChangeSet = added(`module.stamp["westeurope"].azurerm_redis_cache.main`)
	t.Drift = []operation.Change{{Address: "azurerm_dns_zone.main", Action: operation.Update}}
}

func lockTexts() map[string]string {
	texts := map[string]string{}
	for _, more := range []map[string]string{lockAnswers(), lockReports(), incidents(), confirmations()} {
		maps.Copy(texts, more)
	}
	return texts
}

func lockAnswers() map[string]string {
	targets := func(targets ...render.LockedTarget) []render.LockedTarget { return targets }
	alive := oursDead()
	running := applyOperation("prod", operation.Running, nil)
	alive.Holder = render.LockHolder{Operation: &running, Run: render.RunView{URL: runURL}, Life: render.Alive, Because: "Switchyard's server sees to it now."}
	atHome := outsider()
	atHome.Holder.Life, atHome.Holder.Because = render.Alive, "A process on this host has it."
	errored := oursDead()
	errored.Found.Errored = leftBehind(takenOver()).Now.Errored
	errored.Found.Notes = []string{"The state is larger than 64 MB, so its resources were not counted."}
	second := outsider()
	second.Target.Root, second.Found.Info.ID = "src/dns", otherID
	free := render.LockedTarget{Target: prodTarget, Found: found(leased(operation.LeaseFree), undescribed)}
	stale := render.LockedTarget{Target: prodTarget, Found: found(leased(operation.LeaseBroken))}
	local := render.LockedTarget{Target: operation.Target{Root: "src/dns", Environment: "prod"}, Found: found(leased(operation.LeaseFree), func(lock *operation.StateLock) {
		lock.Backend, lock.Place = "local", "/srv/state/terraform.tfstate"
	})}
	none := render.LockedTarget{Target: prodTarget, Found: &operation.StateLock{
		Backend: "azurerm", Place: "acmestate/tfstate/network-prod", Lease: operation.LeaseFree, Missing: "container",
	}}
	hostileWho := outsider()
	hostileWho.Found.Info = &operation.LockInfo{
		ID: lockID, Who: "@acme/owners **now** <img src=x>\n# [click](https://evil.example) " + strings.Repeat("w", 512), Operation: "`x` <!-- -->",
		Path: "https://evil.example/x?sig=1", Version: "::error::1", Created: "yesterday @ana",
	}
	command := func(command string) func(*render.LockView) { return func(v *render.LockView) { v.Command = command } }
	named := func(v *render.LockView) { v.Named = lockID }
	other := outsider()
	other.Found.Info.ID = otherID
	http := oursDead()
	http.Found.Backend, http.Found.Place = "http", "https://state.example/network/prod"
	http.Found.Size, http.Found.Modified = 0, time.Time{}
	holder := ahead()
	holder.Environment = "prod"
	heldBy := func(v *render.LockView) { v.Holder = holder }
	const unsure = "It is not known whether the holder still works."
	asked := func(number int) func(*render.LockView) { return func(v *render.LockView) { v.Number = number } }
	direct, pushed := alive, running
	pushed.Pull, pushed.Pulls = 0, nil
	direct.Holder.Operation = &pushed
	overInRun, overHere := oursDead(), oursDead()
	overInRun.Holder.Life, overInRun.Holder.Because = render.Alive, "GitHub says that its workflow run is in progress."
	overInRun.Holder.Run.ID = 77
	overElsewhere := overInRun
	overElsewhere.Holder.Run.URL = "https://github.acme.example/acme/network/actions/runs/77"
	overHere.Holder.Life, overHere.Holder.Because = render.Alive, "A process of it still runs on build-1."
	overHere.Holder.Run, overHere.Holder.Machine = render.RunView{}, "build-1"
	broke := breaking(operation.Failed, operation.TargetFailed, &operation.Broken{Taken: true, Cleared: true})
	goesOn := nameless()
	goesOn.Holder = render.LockHolder{
		Operation: &broke, Life: render.Dead, Because: "Its runner reported at 12:00 UTC that it had ended.", Lock: lockID,
	}
	return map[string]string{
		"lock alive in another pull request":           render.LockAnswer(lockView(render.LockAlive, targets(alive), asked(42), command("/cancel prod"))),
		"lock alive of a push":                         render.LockAnswer(lockView(render.LockAlive, targets(direct), asked(42), command("/cancel prod"))),
		"lock alive but over in a run":                 render.LockAnswer(lockView(render.LockAlive, targets(overInRun), asked(41))),
		"lock alive but over in a run of another host": render.LockAnswer(lockView(render.LockAlive, targets(overElsewhere), asked(41))),
		"lock alive but over on a host":                render.LockAnswer(lockView(render.LockAlive, targets(overHere), asked(41))),
		"lock ask where a break was cut off":           render.LockAnswer(lockView(render.LockAsk, targets(goesOn))),
		"lock looking": render.LockAnswer(lockView("", nil, func(v *render.LockView) {
			v.Looking, v.Run = true, render.RunView{URL: runURL, Where: "The workflow run waits for a runner."}
		})),
		"lock ask":                         render.LockAnswer(lockView(render.LockAsk, targets(oursDead()), func(v *render.LockView) { v.Reason = "the runner was killed, see #12" })),
		"lock ask two":                     render.LockAnswer(lockView(render.LockAsk, targets(oursDead()), two("Changes of `prod` need approvals there."))),
		"lock ask about an outsider":       render.LockAnswer(lockView(render.LockAsk, targets(outsider(), missed()), two(unsure))),
		"lock ask without description":     render.LockAnswer(lockView(render.LockAsk, targets(nameless()), two(unsure))),
		"lock ask with errored states":     render.LockAnswer(lockView(render.LockAsk, targets(errored, second))),
		"lock ask of an http backend":      render.LockAnswer(lockView(render.LockAsk, targets(http))),
		"lock ask about a hostile lock":    render.LockAnswer(lockView(render.LockAsk, targets(hostileWho), two(unsure))),
		"lock alive":                       render.LockAnswer(lockView(render.LockAlive, targets(alive), asked(41), command("/cancel prod"))),
		"lock alive elsewhere":             render.LockAnswer(lockView(render.LockAlive, targets(atHome), command("/cancel prod"))),
		"lock other":                       render.LockAnswer(lockView(render.LockOther, targets(other), named)),
		"lock other and free":              render.LockAnswer(lockView(render.LockOther, targets(stale), named, func(v *render.LockView) { v.Chosen = -1 })),
		"lock other of several":            render.LockAnswer(lockView(render.LockOther, targets(other, second), named, func(v *render.LockView) { v.Chosen = -1 })),
		"lock several":                     render.LockAnswer(lockView(render.LockSeveral, targets(oursDead(), second), func(v *render.LockView) { v.Chosen = -1 })),
		"lock reason":                      render.LockAnswer(lockView(render.LockReason, targets(oursDead()))),
		"lock failed":                      render.LockAnswer(lockView(render.LockFailed, targets(missed()), func(v *render.LockView) { v.Run.URL = runURL })),
		"lock failed with Terraform words": render.LockAnswer(lockView(render.LockFailed, targets(missed(), render.LockedTarget{Target: prodTarget, Error: terraformError}), func(v *render.LockView) { v.Chosen = -1 })),
		"lock nothing":                     render.LockAnswer(lockView(render.LockNothing, targets(free))),
		"lock nothing in two roots":        render.LockAnswer(lockView(render.LockNothing, targets(free, free), func(v *render.LockView) { v.Chosen = -1 })),
		"lock nothing without container":   render.LockAnswer(lockView(render.LockNothing, targets(none))),
		"lock harmless":                    render.LockAnswer(lockView(render.LockHarmless, targets(stale, local), func(v *render.LockView) { v.Chosen = -1 })),
		"lock held here":                   render.LockAnswer(lockView(render.LockHeldHere, targets(oursDead()), heldBy, command("/cancel prod"))),
		"lock held here by whom nobody knows": render.LockAnswer(lockView(render.LockHeldHere, targets(oursDead()), heldBy,
			command("/unlock prod"))),
		"lock met": strings.Join([]string{
			render.LockMet(oursDead()), render.LockMet(alive), render.LockMet(overInRun), render.LockMet(overHere), render.LockMet(atHome), render.LockMet(outsider()), render.LockMet(nameless()),
			render.LockMet(hostileWho), render.LockMet(render.LockedTarget{Target: prodTarget}),
		}, "\n\n") + "\n",
		"apply met a lock": render.PullComment(pull(nil, apply(changed(applyOperation("prod", operation.Failed, result(met())), func(op *operation.Operation) {
			op.Message = render.LockMet(oursDead())
		})))),
	}
}

func lockReports() map[string]string {
	newcomer := found(func(lock *operation.StateLock) { lock.Info.ID, lock.Info.Who = otherID, "ana@laptop" })
	again := takenOver()
	again.Now = newcomer
	copying := &operation.Broken{Taken: true, Now: found(), Problem: "copy the state: 503 Server Busy"}
	clearing := &operation.Broken{Taken: true, Snapshot: "2026-11-21T12:00:00.0000000Z", Now: found()}
	releasing := &operation.Broken{Taken: true, Snapshot: "2026-11-21T12:00:00.0000000Z", Cleared: true}
	failing := func(t *operation.TargetResult) {
		t.Error = "Error: release the lease: context deadline exceeded\n\n  after 30 s\n"
	}
	untried := takenOver()
	untried.Verified, untried.Untried = false, "Whether the lock can be taken now is not known: take the free lock: 503 Server Busy."
	unplanned := takenOver()
	unplanned.Problem = terraformError
	return map[string]string{
		"lock report queued": render.LockReport(report(breaking(operation.Queued, "", nil))),
		"lock report queued behind whom nobody knows": render.LockReport(report(breaking(operation.Queued, "", nil), func(v *render.LockReportView) {
			v.Hold, v.HoldOf = hung(), render.Unknown
		})),
		"lock report queued behind one that works": render.LockReport(report(breaking(operation.Queued, "", nil), func(v *render.LockReportView) {
			v.Hold, v.HoldOf = hung(), render.Alive
		})),
		"lock report running": render.LockReport(report(breaking(operation.Running, "", nil), func(v *render.LockReportView) {
			v.Run.URL = runURL
		})),
		"lock report by one person": render.LockReport(report(changed(breaking(operation.Succeeded, operation.Released, leftBehind(takenOver())), func(op *operation.Operation) {
			op.Lock.By, op.Result.Targets[0].Broken.Made = "ben", nil
		}))),
		"lock report taken over":  render.LockReport(report(breaking(operation.Succeeded, operation.Released, takenOver()))),
		"lock report left behind": render.LockReport(report(breaking(operation.Succeeded, operation.Released, leftBehind(takenOver()), drifted))),
		"lock report with an artifact": render.LockReport(report(breaking(operation.Succeeded, operation.Released, takenOver()), func(v *render.LockReportView) {
			v.Artifact = &operation.ErroredState{
				Place: "errored-state-20.1-4f3a2b1c9d8e", Why: "It is encrypted, so only `terraform state push` can tell whether it still fits.",
				Next: "gh run download 77 --repo acme/network --name errored-state-20.1-4f3a2b1c9d8e\n" +
					"age --decrypt --identity KEY_FILE --output errored.tfstate errored.tfstate.age\nterraform state push errored.tfstate",
			}
		})),
		"lock report broken": render.LockReport(report(breaking(operation.Succeeded, operation.Released, &operation.Broken{
			How: operation.ReleasedBroken, NoCopy: "There is no state yet.", Verified: true, Now: found(leased(operation.LeaseFree), undescribed),
		}), func(v *render.LockReportView) {
			v.Dead, v.Operation.Lock = nil, &operation.LockRequest{Number: 41, By: "carol", SaidIn: 52, Break: &operation.LockTask{ETag: "0x8DC"}}
		})),
		"lock report of an http backend": render.LockReport(report(breaking(operation.Succeeded, operation.Released, &operation.Broken{
			How: operation.ReleasedTaken, NoCopy: "Terraform's http backend has no copies.", Verified: true, Cleared: true,
			Now: found(leased(operation.LeaseFree), undescribed, func(lock *operation.StateLock) { lock.Backend = "http" }),
		}))),
		"lock report free already": render.LockReport(report(breaking(operation.Succeeded, operation.Released, &operation.Broken{
			How: operation.ReleasedBefore, Now: found(leased(operation.LeaseBroken)),
		}))),
		"lock report held again":     render.LockReport(report(breaking(operation.Succeeded, operation.Released, again))),
		"lock report not tried":      render.LockReport(report(breaking(operation.Succeeded, operation.Released, untried))),
		"lock report without a plan": render.LockReport(report(breaking(operation.Succeeded, operation.Released, unplanned))),
		"lock report other lock":     render.LockReport(report(breaking(operation.Failed, operation.OtherLock, &operation.Broken{Now: newcomer}))),
		"lock report other lock and free": render.LockReport(report(breaking(operation.Failed, operation.OtherLock, &operation.Broken{
			Now: found(leased(operation.LeaseFree), undescribed),
		}))),
		"lock report failed before":    render.LockReport(report(breaking(operation.Failed, operation.TargetFailed, &operation.Broken{Now: found(), Problem: "503 Server Busy"}))),
		"lock report failed copying":   render.LockReport(report(breaking(operation.Failed, operation.TargetFailed, copying))),
		"lock report stopped clearing": render.LockReport(report(breaking(operation.Cancelled, operation.TargetStopped, clearing))),
		"lock report failed releasing": render.LockReport(report(breaking(operation.Failed, operation.TargetFailed, releasing, failing), func(v *render.LockReportView) {
			v.Run.URL = runURL
		})),
		"lock report not begun": render.LockReport(report(changed(breaking(operation.Failed, "", nil), func(op *operation.Operation) {
			op.Message = "Nothing was done, because apply 20 (prod) works after all. GitHub says that its workflow run is in progress."
		}))),
		"lock report interrupted": render.LockReport(report(breaking(operation.Interrupted, "", nil))),
	}
}

func incidents() map[string]string {
	maybe := outsider()
	maybe.Holder.Operation = hung()
	left := render.IncidentStuck(lockView(render.LockAsk, []render.LockedTarget{oursDead()}, func(v *render.LockView) {
		v.Command, v.By = "/break-lease prod src/terraform", "switchyard"
	}))
	return map[string]string{
		"incident":       render.IncidentTitle("prod") + "\n\n" + render.IncidentBody("prod"),
		"incident stuck": left,
		"incident perhaps stuck": render.IncidentStuck(lockView(render.LockAsk, []render.LockedTarget{maybe}, func(v *render.LockView) {
			v.Command = "/break-lease prod"
		})),
		"incident unlooked": render.IncidentUnlooked(lockView(render.LockFailed, []render.LockedTarget{missed()}), *hung(), 4),
		"incident unlooked in several roots": render.IncidentUnlooked(lockView(render.LockFailed, []render.LockedTarget{
			missed(), {Target: prodTarget, Error: "503 Server Busy"},
		}), *hung(), 4),
		"incident without an issue": render.IncidentWithoutIssue(left, "prod"),
		"incident broken":           render.IncidentBroken(report(breaking(operation.Succeeded, operation.Released, leftBehind(takenOver()), drifted))),
		"incident not broken":       render.IncidentBroken(report(breaking(operation.Failed, operation.TargetFailed, &operation.Broken{Taken: true, Now: found()}))),
	}
}

func confirmations() map[string]string {
	refusal := func(kind render.ConfirmKind) string {
		return render.ConfirmRefused(render.ConfirmView{
			Kind: kind, Code: "7F3A9K2M", Command: "break-lease", Again: "/break-lease prod src/terraform", Needs: "maintain permission", Asked: "ben",
			By: "carol", At: noon.Add(-time.Minute + 30*time.Second), Now: noon,
		})
	}
	holder := applyOperation("prod", operation.Running, nil)
	holder.Started = noon.Add(-2 * time.Hour)
	ask := render.UnlockAskView{
		Environment: "prod", By: "ben", Now: noon, Holder: holder, Life: render.Dead, Because: "Neither its runner nor Terraform runs on host-1 any more.",
		Code: "7F3A9K2M", Until: noon.Add(15*time.Minute + 40*time.Second),
	}
	unsure := ask
	unsure.Life, unsure.Two, unsure.Because = render.Unknown, true, "The server that started it, host-1, does not answer since 09:12 UTC."
	unsure.Run.URL = runURL
	done := func(state operation.State, change func(*operation.TargetResult)) operation.Operation {
		t := target("src/terraform", "prod", operation.TargetStopped, added("terraform_data.a"))
		t.Timings.Apply = time.Second
		if change != nil {
			change(&t)
		}
		return applyOperation("prod", state, result(t))
	}
	free := done(operation.Cancelled, func(t *operation.TargetResult) {
		t.Error = "Terraform stopped by itself, saved what it had done and released the state lock."
	})
	held := done(operation.Cancelled, func(t *operation.TargetResult) {
		t.Lock = &operation.LockInfo{ID: lockID, Who: "runner@host-1"}
	})
	killed := done(operation.Cancelled, func(t *operation.TargetResult) {
		t.Error = "Terraform did not stop in time and was killed. The state lock may still be held, and what it did last may not be in the state."
	})
	early := done(operation.Cancelled, func(t *operation.TargetResult) { t.Timings.Apply = 0 })
	failed := done(operation.Failed, func(t *operation.TargetResult) { t.Outcome = operation.TargetFailed })
	look := operation.Operation{ID: 30, Kind: operation.ExplainLock, Environment: "prod", State: operation.Cancelled, Actor: "ben"}
	cancelled := func(done ...operation.Operation) string {
		return render.CancelAnswer(render.CancelAnswerView{Environment: "prod", By: "ana", Done: done})
	}
	released := applyOperation("prod", operation.Interrupted, nil)
	return map[string]string{
		"confirm unknown": refusal(render.ConfirmUnknown), "confirm expired": refusal(render.ConfirmExpired), "confirm taken": refusal(render.ConfirmTaken),
		"confirm self": refusal(render.ConfirmSelf), "confirm rights": refusal(render.ConfirmRights),
		"confirm unknown code": render.ConfirmRefused(render.ConfirmView{Kind: render.ConfirmUnknown, Code: "00000000"}),
		"unlock ask":           render.UnlockAsk(ask), "unlock ask two": render.UnlockAsk(unsure),
		"answer unlock confirmed": render.UnlockAnswer(render.UnlockAnswerView{Environment: "prod", By: "ben", Confirmed: "carol", Released: &released, Now: noon}),
		"answer cancel done":      cancelled(free, *planOperation(operation.Cancelled, nil), look),
		"answer cancel locked":    cancelled(held), "answer cancel killed": cancelled(killed), "answer cancel early": cancelled(early),
		"answer cancel failed":  cancelled(failed),
		"answer cancel unknown": cancelled(*hung(), done(operation.Succeeded, nil)),
		"answer cancel lock work": render.CancelAnswer(render.CancelAnswerView{
			Environment: "prod", By: "ana", Stopping: []operation.Operation{breaking(operation.Running, "", nil)},
		}),
	}
}

// locked is a target whose lock, and whose state, have the text in everything.
func (f filled) locked(ours bool, life render.Life) render.LockedTarget {
	t := render.LockedTarget{
		Target: operation.Target{Root: "r" + f.text, Environment: "e" + f.text}, Holder: render.LockHolder{Life: life, Because: "B " + f.text},
		Found: &operation.StateLock{
			Backend: "azurerm", Place: "p" + f.text, Lease: operation.LeaseHeld, Size: 2000, Serial: 3, Resources: 2, Modified: noon,
			Info: &operation.LockInfo{
				ID: "i" + f.text, Path: "p" + f.text, Operation: "o" + f.text, Who: "w" + f.text, Version: "v" + f.text, Created: "c" + f.text,
			},
			Tainted: []string{"t" + f.text}, Notes: []string{"N " + f.text, "O " + f.text},
			Errored: []operation.ErroredState{
				{Place: "p" + f.text, Serial: 4, Fits: true, Next: "az " + f.text}, {Place: "q" + f.text, Why: "W " + f.text},
			},
		},
	}
	if ours {
		op := f.operation(operation.Apply, operation.Interrupted)
		t.Holder.Operation = &op
	}
	return t
}

// locks are the texts about locks, made of the text.
func (f filled) locks(texts map[string]string) {
	held := []render.LockedTarget{f.locked(true, render.Dead), f.locked(false, render.Unknown), {Target: prodTarget, Error: "E " + f.text}}
	free := f.locked(false, render.Unknown)
	free.Found.Lease = operation.LeaseBroken
	op := f.operation(operation.Apply, operation.Running)
	for _, verdict := range []render.LockVerdict{
		render.LockNothing, render.LockHarmless, render.LockAlive, render.LockOther, render.LockSeveral, render.LockReason, render.LockFailed,
		render.LockAsk, render.LockHeldHere,
	} {
		v := render.LockView{
			Repository: network, WebURL: web, Environment: "e" + f.text, By: "b" + f.text, Named: "n" + f.text, Reason: "R " + f.text, Now: noon,
			Verdict: verdict, Targets: held, Chosen: 1, Holder: &op, Code: "c" + f.text, Two: true, Why: []string{"W " + f.text}, Until: noon,
		}
		if verdict == render.LockNothing || verdict == render.LockHarmless {
			v.Targets, v.Chosen = []render.LockedTarget{free, held[2]}, -1
		}
		texts["lock "+string(verdict)] = render.LockAnswer(v)
		if v.Chosen = 0; verdict == render.LockAsk {
			texts["lock of ours"], texts["lock left behind"] = render.LockAnswer(v), render.IncidentStuck(v)
		}
	}
	works := held[0]
	running := op
	works.Holder.Operation, works.Holder.Life = &running, render.Alive
	over := f.locked(true, render.Alive)
	over.Holder.Machine, over.Holder.Lock = "m"+f.text, "l"+f.text
	texts["lock works"], texts["lock over"] = render.LockMet(works), render.LockMet(over)
	unlooked := render.LockView{Repository: network, WebURL: web, Environment: "e" + f.text, Targets: held[2:], Now: noon}
	texts["lock unlooked"] = render.IncidentUnlooked(unlooked, op, 4)
	texts["lock goes on"] = render.LockAnswer(render.LockView{
		Repository: network, WebURL: web, Environment: "e" + f.text, Verdict: render.LockAsk, Targets: []render.LockedTarget{over}, Now: noon,
	})
	for _, t := range held {
		texts["lock met "+string(t.Holder.Life)] = render.LockMet(t)
	}
	for _, how := range []operation.HowReleased{operation.ReleasedTaken, operation.ReleasedBroken, operation.ReleasedNot} {
		texts["lock report "+string(how)] = render.LockReport(f.broken(how))
		texts["lock incident "+string(how)] = render.IncidentBroken(f.broken(how))
	}
	for _, kind := range []render.ConfirmKind{
		render.ConfirmUnknown, render.ConfirmExpired, render.ConfirmTaken, render.ConfirmSelf, render.ConfirmRights,
	} {
		texts["confirm "+string(kind)] = render.ConfirmRefused(render.ConfirmView{
			Kind: kind, Code: "c" + f.text, Command: "d" + f.text, Again: "/a" + f.text, Needs: "n " + f.text, Asked: "a" + f.text, By: "b" + f.text,
			At: noon, Now: noon,
		})
	}
	texts["unlock ask"] = render.UnlockAsk(render.UnlockAskView{
		Environment: "e" + f.text, By: "b" + f.text, Now: noon, Holder: op, Because: "B " + f.text, Code: "c" + f.text, Two: true,
	})
	done := f.operation(operation.Apply, operation.Cancelled)
	stopped := *done.Result
	stopped.Targets = append([]operation.TargetResult{}, stopped.Targets...)
	done.Result = &stopped
	texts["cancel done"] = render.CancelAnswer(render.CancelAnswerView{Environment: "e" + f.text, Done: []operation.Operation{done}})
	texts["unlock confirmed"] = render.UnlockAnswer(render.UnlockAnswerView{
		Environment: "e" + f.text, By: "b" + f.text, Confirmed: "c" + f.text, Released: &op, Now: noon,
	})
}

// broken is the report about the breaking of a lock that has the text in everything.
func (f filled) broken(how operation.HowReleased) render.LockReportView {
	dead := f.operation(operation.Apply, operation.Interrupted)
	now := f.locked(false, "").Found
	op := breaking(operation.Failed, operation.TargetFailed, &operation.Broken{
		How: how, Snapshot: "s" + f.text, NoCopy: "N " + f.text, Taken: true, Made: []string{"m" + f.text}, Left: []string{"l" + f.text},
		Problem: "P " + f.text, Untried: "U " + f.text, Now: now,
	}, func(t *operation.TargetResult) { t.Drift = []operation.Change{f.change(operation.Update, 0)} })
	op.Environment, op.Roots, op.Actor, op.Message = "e"+f.text, []string{"r" + f.text}, "a"+f.text, "m "+f.text
	op.Lock.Reason, op.Lock.By = "R "+f.text, "b"+f.text
	return render.LockReportView{
		Repository: network, WebURL: web, Operation: op, Now: noon, Dead: &dead,
		Artifact: &operation.ErroredState{Place: "a" + f.text, Why: "W " + f.text, Next: "gh " + f.text},
	}
}

func TestWhatIsMaskedIsMaskedInTextsAboutLocks(t *testing.T) {
	t.Parallel()
	const secret = "AccountKey=abc123"
	f := fill("x " + secret)
	v := render.LockView{
		Repository: network, WebURL: web, Environment: "prod", By: "ben", Reason: "R " + secret, Now: noon, Verdict: render.LockAsk, Why: []string{"W " + secret},
		Targets: []render.LockedTarget{f.locked(false, render.Unknown), {Target: prodTarget, Error: "E " + secret}}, Code: "7F3A9K2M",
		Mask: []string{`AccountKey=\w+`},
	}
	for i := range v.Targets {
		v.Targets[i].Target = prodTarget
	}
	r := f.broken(operation.ReleasedTaken)
	r.Operation.Environment, r.Operation.Roots, r.Operation.Actor, r.Operation.Lock.By, r.Dead = "prod", []string{"src/terraform"}, "ben", "carol", nil
	r.Artifact, r.Mask = nil, v.Mask
	r.Operation.Result.Targets[0].Broken.Snapshot = "s"
	for name, content := range map[string]string{
		"answer": render.LockAnswer(v), "stuck": render.IncidentStuck(v), "report": render.LockReport(r), "incident": render.IncidentBroken(r),
	} {
		shown := strings.NewReplacer("ix "+secret, "", "vx "+secret, "", "cx "+secret, "").Replace(content) // of the lock itself: no words of people
		if strings.Contains(shown, secret) || !strings.Contains(shown, "***") {
			t.Errorf("%s shows what is masked:\n%s", name, content)
		}
	}
}

func TestAnswersAboutVeryManyLocksFit(t *testing.T) {
	t.Parallel()
	f := fill(strings.Repeat("\"🚀", 300))
	var held, failed []render.LockedTarget
	for range 200 {
		held = append(held, f.locked(true, render.Dead))
		failed = append(failed, render.LockedTarget{Target: prodTarget, Error: strings.Repeat("Error: é\n", 5000)})
	}
	free := f.locked(false, "")
	free.Found.Lease = operation.LeaseBroken
	left := []render.LockedTarget{free}
	for len(left) < 200 {
		left = append(left, free)
	}
	for i := range held[0].Found.Notes {
		held[0].Found.Notes[i] = strings.Repeat("n", 5000)
	}
	many := make([]string, 5000)
	for i := range many {
		many[i] = strings.Repeat("🚀", 400)
	}
	r := f.broken(operation.ReleasedTaken)
	broken := r.Operation.Result.Targets[0].Broken
	broken.Made, broken.Left, broken.Now.Tainted, broken.Problem = many, many, many, strings.Repeat("é\n", 20_000)
	r.Operation.Result.Targets[0].Drift = changes(3000)
	for name, content := range map[string]string{
		"several": render.LockAnswer(lockView(render.LockSeveral, append(held, failed...), func(v *render.LockView) { v.Chosen = -1 })),
		"ask":     render.LockAnswer(lockView(render.LockAsk, append(held, failed...), two(many...))),
		"failed":  render.LockAnswer(lockView(render.LockFailed, failed)),
		"free":    render.LockAnswer(lockView(render.LockHarmless, left, func(v *render.LockView) { v.Chosen = -1 })),
		"report":  render.LockReport(r), "incident": render.IncidentBroken(r),
	} {
		if got := encodedLength(t, content); got > render.MaxComment || !strings.Contains(content, "Next: ") {
			t.Errorf("%s has %d bytes:\n%.300s", name, got, content)
		}
	}
}

func changes(n int) []operation.Change {
	all := make([]operation.Change, n)
	for i := range all {
		all[i] = operation.Change{Address: fmt.Sprintf("terraform_data.r%04d%s", i, strings.Repeat("x", 300)), Action: operation.Update}
	}
	return all
}

func TestTheMarkerOfAnIncidentIsOneHiddenLine(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, foreign := range append([]string{"prod", "prod-1", "prod--1", "Prod"}, hostile...) {
		marker := render.IncidentMarker(foreign)
		inner := strings.TrimSuffix(strings.TrimPrefix(marker, "<!-- switchyard:incidents:"), " -->")
		if strings.Contains(inner, "-") || strings.ContainsAny(inner, "<>\n ") || !strings.HasSuffix(marker, " -->") {
			t.Errorf("%q has the marker %q", foreign, marker)
		}
		if before, twice := seen[marker]; twice && before != foreign {
			t.Errorf("%q and %q have one marker", before, foreign)
		}
		seen[marker] = foreign
		body := render.IncidentBody(foreign)
		if strings.Count(body, "<!--") != 1 || !strings.HasSuffix(body, "\n"+marker+"\n") {
			t.Errorf("%q has the body\n%s", foreign, body)
		}
		bare := strings.TrimSuffix(body, marker+"\n")
		for _, harm := range harmsIn(bare, markdown.Parser().Parse(text.NewReader([]byte(bare)))) {
			t.Errorf("the body of %q has %s", foreign, harm)
		}
		if title := render.IncidentTitle(foreign); len(title) > render.MaxTitle || strings.Contains(title, "\n") || !utf8.ValidString(title) {
			t.Errorf("%q has the title %q", foreign, title)
		}
	}
}

func TestWhatAnApplySaysOfALockStaysTheSameWhereItIsShown(t *testing.T) {
	t.Parallel()
	for _, foreign := range hostile {
		met := oursDead()
		met.Found.Info.Who, met.Holder.Operation, met.Target.Root = foreign, nil, "r"+foreign
		said := render.LockMet(met)
		op := applyOperation("prod", operation.Failed, result(lockedTarget()))
		op.Message = said
		if strings.Contains(said, "\n") {
			t.Errorf("with %q it has several lines: %q", foreign, said)
		}
		if comment := render.PullComment(pull(nil, apply(op))); len(said) < 1200 && !strings.Contains(comment, "before anything is broken") {
			t.Errorf("with %q the comment does not say what comes next:\n%.600s", foreign, comment)
		}
	}
}
