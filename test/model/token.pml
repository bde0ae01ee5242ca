/* SPDX-License-Identifier: Apache-2.0 */
/*
 * token.pml - tokens and the event index (chan/PROTOCOL.md, 4 and 5), with stores that others see late.
 *
 * The INS publishes PUBLISHES times, a byte each, and after each looks whether it is due: then it counts a token and sends it. The reader sleeps until
 * its descriptor is readable (LEVEL), or until a token comes (edge-triggered), reads until the ring is empty, and asks for the next
 * token as app must. Stores wait in a store buffer until they are written out, some time, or at a fence. Wanted: when nothing can move any more,
 * all is read (no lost wake-up) and no token is left (the descriptor does not look readable, no endless one).
 *
 * NO_INS_FENCE, NO_READER_FENCE, RUNG_AFTER_LOOK (what was rung is read after the second look): wrong on purpose; each must be found.
 */
#ifndef PUBLISHES
#define PUBLISHES 4
#endif

byte prod, event, rung; /* shared words; event is a position, at first 0: armed */
byte tokens, edges;     /* in the doorbell; how many ever came */
byte cons, taken;       /* the reader's */

bool late_prod, late_event; /* store buffers, a place each */
byte late_prod_value, late_event_value;

active proctype memory()
{
end:
	do
	:: atomic { late_prod -> prod = late_prod_value; late_prod = false }
	:: atomic { late_event -> event = late_event_value; late_event = false }
	od
}

active proctype ins()
{
	byte n, told = 255, seen;

	do
	:: n < PUBLISHES ->
		n++;
		atomic { !late_prod -> late_prod = true; late_prod_value = n }
#ifndef NO_INS_FENCE
		!late_prod;
#endif
		seen = event;
		if
		:: seen != told && seen < n ->
			told = seen;
			rung++;  /* before it is sent */
			atomic { tokens++; edges++ }
		:: else
		fi
	:: else -> break
	od
}

inline arm() {
	atomic { !late_event -> late_event = true; late_event_value = cons }
#ifndef NO_READER_FENCE
	!late_event
#endif
}

inline take_back() {
	do
	:: taken < snap ->
		atomic {
			if
			:: tokens -> tokens--; taken++
			:: else -> break
			fi
		}
	:: else -> break
	od
}

active proctype reader()
{
	byte snap, known;

sleep:
end:
#ifdef LEVEL
	tokens;
#else
	edges != known;
#endif
	known = edges;
read:
	cons = prod;
#ifndef RUNG_AFTER_LOOK
	snap = rung;
#endif
	arm();
	if
	:: prod != cons -> goto read
	:: else
	fi;
#ifdef RUNG_AFTER_LOOK
	snap = rung;
#endif
	take_back();
	goto sleep
}

active proctype rest()
{
	timeout -> assert(cons == PUBLISHES); assert(tokens == 0)
}
