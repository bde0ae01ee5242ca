/* SPDX-License-Identifier: Apache-2.0 */
/*
 * readers.pml - several readers asleep on one doorbell (chan/PROTOCOL.md, 4): the kernel wakes one for each record, TCP would wake all.
 *
 * The INS publishes PUBLISHES times, two bytes each, and when due sends as many tokens as readers may be asleep. Each of READERS threads
 * takes one byte, once, and leaves the rest; it may be killed when it has woken. Wanted: when nothing can move any more, nobody sleeps while
 * there are bytes.
 *
 * ONE_TOKEN, WOKEN_LATE (what has ceased to sleep is read behind the token), WAITS_EARLY (what began to, before it): wrong on purpose;
 * each must be found.
 */
#ifndef PUBLISHES
#define PUBLISHES 2
#endif
#ifndef READERS
#define READERS 3
#endif
#define BYTES 2

byte prod, cons, event, rung, tokens, taken, waits, woken;
byte told = 255;
bool killed;
byte asleep;                        /* how many are */
chan queue = [READERS] of { byte }; /* they, in the order in which the kernel wakes them */
bool awake[READERS];

active proctype ins()
{
	byte n, due, was, sent, began, next;

work:
end:
	n < PUBLISHES;
	n++;
	prod = prod + BYTES;
	due = event;
	if
	:: due == told || due >= prod -> goto work
	:: else
	fi;
	was = woken;
	began = waits;
	told = due;
	sent = 0;
send:
	rung++;
	atomic {
		tokens++;
		if
		:: queue?next -> awake[next] = true; asleep--
		:: empty(queue)
		fi
	}
	sent++;
#ifdef WOKEN_LATE
	if
	:: sent == 1 -> was = woken
	:: else
	fi;
#endif
#ifndef WAITS_EARLY
	if
	:: sent == 1 -> began = waits
	:: else
	fi;
#endif
#ifndef ONE_TOKEN
	if
	:: sent < began - was -> goto send
	:: else
	fi;
#endif
	goto work
}

active [READERS] proctype reader()
{
	byte me = _pid - 1, seen;

look: /* with the lock held; what comes between these steps is token.pml's */
	atomic {
		if
		:: prod != cons ->
			seen = prod;
			cons++;
			if
			:: cons != seen && event != seen && told == event -> event = seen
			:: else
			fi
		:: else -> seen = 0
		fi;
		if
		:: prod == cons ->
			event = cons;
			do
			:: taken < rung && tokens -> tokens--; taken++
			:: else -> break
			od
		:: else
		fi;
		if
		:: seen -> goto done
		:: else
		fi
	}
	waits++; /* an atomic add */
sleep:
	atomic {
		if
		:: tokens -> goto woke
		:: else -> queue!me; asleep++
		fi
	}
end:
	atomic { awake[me] -> awake[me] = false }
	goto sleep;
woke:
	if
	:: atomic { !killed -> killed = true; goto done } /* of all, one: it stays counted */
	:: true
	fi;
	woken++;
	goto look;
done:
	skip
}

active proctype rest()
{
	timeout -> assert(asleep == 0 || prod == cons)
}
