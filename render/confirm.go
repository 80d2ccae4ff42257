package render

import (
	"strings"
	"time"
)

// ConfirmRefused is the answer to a /confirm that does nothing.
func ConfirmRefused(v ConfirmView) string {
	again := ""
	if v.Command != "" && v.Again != "" {
		again = "Next: comment " + code(v.Again) + ", which explains how it is now and gives a new code."
	}
	confirm := code("/confirm " + v.Code)
	switch v.Kind {
	case ConfirmExpired:
		when := ""
		if !v.At.IsZero() {
			when = " It was valid until " + clock(v.Now, v.At.Truncate(time.Minute)) + "."
		}
		return fit(maxAnswer, fixed("**"+confirm+" was not carried out: the code is too old.**"+when+
			" What it says yes to may have changed since."), fixed(again))
	case ConfirmTaken:
		who := ""
		if v.By != "" {
			who = " by " + prose(v.By)
		}
		return fit(maxAnswer, fixed("**"+confirm+" was not carried out: it was confirmed before"+who+".** A code is good for one yes."+needless))
	case ConfirmSelf:
		return fit(maxAnswer, fixed("**"+confirm+" was not carried out: another person has to confirm.** "+upperName(v.Asked)+" asked for it."),
			fixed("Next: ask somebody else who may give "+code("/"+v.Command)+" to comment "+confirm+"."))
	case ConfirmRights:
		return fit(maxAnswer, fixed("**"+confirm+" was not carried out: who may not give "+code("/"+v.Command)+" may not confirm it.** It needs "+
			strings.TrimSuffix(sentence(v.Needs, "more rights"), ".")+"."),
			fixed("Next: ask somebody who has that to comment "+confirm+"."))
	case ConfirmUnknown:
	}
	if again == "" {
		again = "Next: copy the code from the answer that asks for it; where there is none, give that command again."
	}
	return fit(maxAnswer, fixed("**"+confirm+" was not carried out: nothing asks for that code.**"), fixed(again))
}

// upperName is a login at the beginning of a sentence, which keeps its case.
func upperName(login string) string {
	if login == "" {
		return "The same person"
	}
	return prose(login)
}

// UnlockAsk explains who has the hold of an environment and what releasing it would mean, and asks for a /confirm.
func UnlockAsk(v UnlockAskView) string {
	environment := prose(v.Environment)
	banner := "**" + environment + " is held by " + what(v.Holder) + ", which is dead.**"
	risk := "Releasing the hold lets the next operation begin. Terraform's own state lock is not touched: it may have been left behind, " +
		"and then the next apply says so."
	if v.Life != Dead {
		banner = "**" + environment + " is held by " + what(v.Holder) + ", and nobody can tell whether that still works.** " +
			"Find out before you say yes."
		risk = "If it works, the next operation begins beside it, and only Terraform's own state lock, which is not touched, " +
			"is left between the two."
	}
	if v.Because != "" {
		banner += " " + sentence(v.Because, "")
	}
	if !v.Holder.Started.IsZero() && !v.Now.Before(v.Holder.Started) {
		banner += " It began " + since(v.Now, v.Holder.Started) + " ago."
	}
	if safeAddress(v.Run.URL) != "" {
		banner += " It was carried out by " + linkTo("this workflow run", v.Run.URL) + "."
	}
	who := "read this, then comment "
	if v.Two {
		who = "another person than " + prose(v.By) + ", who may give " + code("/unlock") + " as well, reads this and comments "
	}
	return fit(maxAnswer, fixed(banner), fixed(risk), fixed("Next: "+who+code("/confirm "+v.Code)+untilWords(v.Now, v.Until)+
		". The code is for exactly this attempt at this operation."))
}
