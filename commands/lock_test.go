package commands_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/commands"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/repoconfig"
)

const (
	lockID  = "9db590f1-b6fe-c5f2-2678-8804f089deba"
	otherID = "0c2f6f3e-6a0b-4a0e-9f5e-2f3d1c0b9a87"
)

// lock is a target whose lock is held under an id, by somebody who lives or not.
func lock(root, id string, life render.Life, change ...func(*render.LockedTarget)) render.LockedTarget {
	t := render.LockedTarget{
		Target: operation.Target{Root: root, Environment: "prod"}, Holder: render.LockHolder{Life: life},
		Found: &operation.StateLock{Backend: "azurerm", Lease: operation.LeaseHeld, ETag: "0x1", Info: &operation.LockInfo{ID: id}},
	}
	for _, one := range change {
		one(&t)
	}
	return t
}

func leased(state operation.LeaseState) func(*render.LockedTarget) {
	return func(t *render.LockedTarget) { t.Found.Lease = state }
}

func undescribed(t *render.LockedTarget) { t.Found.Info = nil }

func unlooked(t *render.LockedTarget) { t.Found, t.Error = nil, "403" }

func heldBy(id int64) func(*render.LockedTarget) {
	return func(t *render.LockedTarget) { t.Holder.Operation = &operation.Operation{ID: id} }
}

// takenFrom is a lock that an operation had taken over from another one when it ended.
func takenFrom(id string) func(*render.LockedTarget) {
	return func(t *render.LockedTarget) { t.Holder.Lock = id }
}

func TestWhatMayBeBrokenAndByWhoseYes(t *testing.T) {
	t.Parallel()
	const unknown = "It is not known whether the holder still works."
	const approvals = "Changes of `prod` need approvals there."
	hold := &operation.Operation{ID: 7}
	type facts = commands.LockFacts
	type targets = []render.LockedTarget
	zero, one := new(0), new(1)
	for name, test := range map[string]struct {
		facts     facts
		command   repoconfig.Command
		approvals int
		want      commands.LockDecision
	}{
		"a lock of a dead holder is asked about": {
			facts: facts{Targets: targets{lock("a", lockID, render.Dead)}}, want: commands.LockDecision{Verdict: render.LockAsk},
		},
		"no targets are targets that nobody looked at": {want: commands.LockDecision{Verdict: render.LockFailed, Chosen: -1}},
		"a lock that could not be looked at is not broken": {
			facts: facts{Targets: targets{lock("a", "", render.Unknown, unlooked)}}, want: commands.LockDecision{Verdict: render.LockFailed},
		},
		"a named lock is not said to be another one where nobody could look": {
			facts: facts{Targets: targets{lock("a", "", "", unlooked), lock("b", "", "", unlooked)}, Named: lockID},
			want:  commands.LockDecision{Verdict: render.LockFailed, Chosen: -1},
		},
		"nothing is said to be free where one of two could not be looked at": {
			facts: facts{Targets: targets{lock("a", "", "", leased(operation.LeaseFree), undescribed), lock("b", "", "", unlooked)}},
			want:  commands.LockDecision{Verdict: render.LockFailed, Chosen: -1},
		},
		"the one that is held is meant although another could not be looked at": {
			facts: facts{Targets: targets{lock("a", "", "", unlooked), lock("b", lockID, render.Dead)}},
			want:  commands.LockDecision{Verdict: render.LockAsk, Chosen: 1},
		},
		"a free lock is nothing": {
			facts: facts{Targets: targets{lock("a", "", "", leased(operation.LeaseFree), undescribed)}},
			want:  commands.LockDecision{Verdict: render.LockNothing},
		},
		"two free locks are nothing in particular": {
			facts: facts{Targets: targets{
				lock("a", "", "", leased(operation.LeaseFree), undescribed), lock("b", "", "", leased(operation.LeaseFree), undescribed),
			}},
			want: commands.LockDecision{Verdict: render.LockNothing, Chosen: -1},
		},
		"a broken lease is harmless": {
			facts: facts{Targets: targets{
				lock("a", "", "", leased(operation.LeaseFree), undescribed), lock("b", "", "", leased(operation.LeaseBroken), undescribed),
			}},
			want: commands.LockDecision{Verdict: render.LockHarmless, Chosen: 1},
		},
		"a stale description of a free lock is harmless": {
			facts: facts{Targets: targets{lock("a", lockID, "", leased(operation.LeaseFree))}}, want: commands.LockDecision{Verdict: render.LockHarmless},
		},
		"a lock with another id than the named one is another lock": {
			facts: facts{Targets: targets{lock("a", lockID, render.Dead)}, Named: otherID}, want: commands.LockDecision{Verdict: render.LockOther},
		},
		"a stale description is not the named lock": {
			facts: facts{Targets: targets{lock("a", lockID, "", leased(operation.LeaseBroken))}, Named: lockID},
			want:  commands.LockDecision{Verdict: render.LockOther, Chosen: -1},
		},
		"a lock without description is not the named lock": {
			facts: facts{Targets: targets{lock("a", "", render.Dead, undescribed)}, Named: lockID}, want: commands.LockDecision{Verdict: render.LockOther},
		},
		"several other locks are none in particular": {
			facts: facts{Targets: targets{lock("a", lockID, render.Dead), lock("b", lockID, render.Dead)}, Named: otherID},
			want:  commands.LockDecision{Verdict: render.LockOther, Chosen: -1},
		},
		"the named lock is found by its id in any case": {
			facts: facts{Targets: targets{lock("a", otherID, render.Dead), lock("b", strings.ToUpper(lockID), render.Dead)}, Named: lockID},
			want:  commands.LockDecision{Verdict: render.LockAsk, Chosen: 1},
		},
		"of several locks a person has to choose": {
			facts: facts{Targets: targets{lock("a", lockID, render.Dead), lock("b", otherID, render.Dead)}},
			want:  commands.LockDecision{Verdict: render.LockSeveral, Chosen: -1},
		},
		"one id in two roots is several locks": {
			facts: facts{Targets: targets{lock("a", lockID, render.Dead), lock("b", lockID, render.Dead)}, Named: lockID},
			want:  commands.LockDecision{Verdict: render.LockSeveral, Chosen: -1},
		},
		"an operation that lives has the environment": {
			facts: facts{Targets: targets{lock("a", lockID, render.Dead)}, Hold: hold, HoldOf: render.Alive},
			want:  commands.LockDecision{Verdict: render.LockHeldHere},
		},
		"an operation of which nobody knows whether it lives has the environment": {
			facts: facts{Targets: targets{lock("a", lockID, render.Dead, heldBy(6))}, Hold: hold, HoldOf: render.Unknown},
			want:  commands.LockDecision{Verdict: render.LockHeldHere},
		},
		"a dead operation that has the environment holds nothing up": {
			facts: facts{Targets: targets{lock("a", lockID, render.Dead, heldBy(6))}, Hold: hold, HoldOf: render.Dead},
			want:  commands.LockDecision{Verdict: render.LockAsk},
		},
		"the holder of the lock may have the environment, too": {
			facts: facts{Targets: targets{lock("a", lockID, render.Unknown, heldBy(7))}, Hold: hold, HoldOf: render.Unknown},
			want:  commands.LockDecision{Verdict: render.LockAsk, Two: true, Why: []string{unknown}},
		},
		"a holder that works keeps its lock": {
			facts: facts{Targets: targets{lock("a", lockID, render.Alive, heldBy(7))}, Hold: hold, HoldOf: render.Alive},
			want:  commands.LockDecision{Verdict: render.LockAlive},
		},
		"a holder that works keeps its lock whatever is missing": {
			facts: facts{Targets: targets{lock("a", lockID, render.Alive)}}, command: repoconfig.Command{Reason: true},
			want: commands.LockDecision{Verdict: render.LockAlive},
		},
		"a reason is asked for where the configuration says so": {
			facts: facts{Targets: targets{lock("a", lockID, render.Dead)}}, command: repoconfig.Command{Reason: true},
			want: commands.LockDecision{Verdict: render.LockReason},
		},
		"a reason that was given is enough": {
			facts: facts{Targets: targets{lock("a", lockID, render.Dead)}, Reason: "the host died"}, command: repoconfig.Command{Reason: true},
			want: commands.LockDecision{Verdict: render.LockAsk},
		},
		"approvals of the environment ask for another person": {
			facts: facts{Targets: targets{lock("a", lockID, render.Dead)}}, approvals: 2,
			want: commands.LockDecision{Verdict: render.LockAsk, Two: true, Why: []string{approvals}},
		},
		"the configuration can do without another person": {
			facts: facts{Targets: targets{lock("a", lockID, render.Dead)}}, approvals: 2, command: repoconfig.Command{Confirm: zero},
			want: commands.LockDecision{Verdict: render.LockAsk},
		},
		"the configuration can ask for another person": {
			facts: facts{Targets: targets{lock("a", lockID, render.Dead)}}, command: repoconfig.Command{Confirm: one},
			want: commands.LockDecision{Verdict: render.LockAsk, Two: true, Why: []string{
				"The configuration asks for it: `commands.break-lease.confirm` is 1.",
			}},
		},
		"where life is unknown two are asked whatever the configuration says": {
			facts: facts{Targets: targets{lock("a", lockID, render.Unknown)}}, command: repoconfig.Command{Confirm: zero},
			want: commands.LockDecision{Verdict: render.LockAsk, Two: true, Why: []string{unknown}},
		},
		"where nobody said anything about life it is unknown": {
			facts: facts{Targets: targets{lock("a", lockID, "")}}, want: commands.LockDecision{Verdict: render.LockAsk, Two: true, Why: []string{unknown}},
		},
		"a lock without description needs two although its holder is taken for dead": {
			facts: facts{Targets: targets{lock("a", "", render.Dead, undescribed)}}, command: repoconfig.Command{Confirm: zero},
			want: commands.LockDecision{Verdict: render.LockAsk, Two: true, Why: []string{
				"The lock has no description, so nothing proves whose it is.",
			}},
		},
		"a lock that was taken over to be released is its holder's, and has a name": {
			facts: facts{Targets: targets{lock("a", "", render.Dead, undescribed, takenFrom(lockID))}, Named: strings.ToUpper(lockID)},
			want:  commands.LockDecision{Verdict: render.LockAsk},
		},
		"a lock that was taken over from another one is another lock": {
			facts: facts{Targets: targets{lock("a", "", render.Dead, undescribed, takenFrom(lockID))}, Named: otherID},
			want:  commands.LockDecision{Verdict: render.LockOther},
		},
		"both reasons for two are told": {
			facts: facts{Targets: targets{lock("a", "", render.Unknown, undescribed)}}, approvals: 1,
			want: commands.LockDecision{Verdict: render.LockAsk, Two: true, Why: []string{approvals, unknown}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := repoconfig.Config{
				Environments: []repoconfig.Environment{{Name: "prod", Approvals: test.approvals}},
				Commands:     map[string]repoconfig.Command{"break-lease": test.command, "unlock": {Confirm: one}},
			}
			if diff := cmp.Diff(test.want, commands.DecideLock(cfg, "prod", test.facts)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestWhoReleasesAHold(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		confirm   *int
		approvals int
		life      render.Life
		want      bool
	}{
		"one person releases the hold of a dead operation":     {nil, 0, render.Dead, false},
		"two do where the environment needs approvals":         {nil, 1, render.Dead, true},
		"one does where the configuration says so":             {new(0), 1, render.Dead, false},
		"two do where the configuration says so":               {new(1), 0, render.Dead, true},
		"two do where nobody knows whether the operation runs": {new(0), 0, render.Unknown, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := repoconfig.Config{
				Environments: []repoconfig.Environment{{Name: "prod", Approvals: test.approvals}},
				Commands:     map[string]repoconfig.Command{"unlock": {Confirm: test.confirm}},
			}
			two, why := commands.TwoForUnlock(cfg, "prod", test.life)
			if two != test.want || two != (len(why) > 0) {
				t.Errorf("%v, because %q", two, why)
			}
		})
	}
}

func TestACodeIsOfExactlyOneSubjectAndCanBeTyped(t *testing.T) {
	t.Parallel()
	subject := commands.LockSubject{Repository: 1, Environment: "prod", Root: "a", ID: lockID, ETag: "0x1", Request: 5}
	seen := map[string]bool{}
	for _, change := range []func(*commands.LockSubject){
		func(*commands.LockSubject) {}, func(s *commands.LockSubject) { s.Repository = 2 }, func(s *commands.LockSubject) { s.Environment = "dev" },
		func(s *commands.LockSubject) { s.Root = "b" }, func(s *commands.LockSubject) { s.ID = otherID }, func(s *commands.LockSubject) { s.ID = "" },
		func(s *commands.LockSubject) { s.ETag = "0x2" }, func(s *commands.LockSubject) { s.Request = 6 },
		func(s *commands.LockSubject) { s.Environment, s.Root = "prod4:", "a" },
	} {
		other := subject
		change(&other)
		seen[other.Code()] = true
	}
	for _, code := range []string{
		commands.HoldCode(1, 2, 3, 4), commands.HoldCode(1, 2, 4, 4), commands.HoldCode(1, 2, 3, 5), commands.HoldCode(12, 3, 4, 4), commands.HoldCode(1, 23, 4, 4),
	} {
		seen[code] = true
	}
	if len(seen) != 14 {
		t.Errorf("%d codes for 14 subjects: %v", len(seen), seen)
	}
	form := regexp.MustCompile(`^[0-9A-HJKMNP-TV-Z]{8}$`)
	for code := range seen {
		typed := strings.NewReplacer("0", "o", "1", "l").Replace(strings.ToLower(code[:4] + "-" + code[4:]))
		c, ours, err := commands.Parse("/confirm " + typed)
		if !form.MatchString(code) || !ours || err != nil || c.Code != code {
			t.Errorf("%s, typed %s, is read as %+v, %v", code, typed, c, err)
		}
	}
}
