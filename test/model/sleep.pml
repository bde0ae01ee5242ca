/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sleep.pml - who sleeps, and who wakes it (chan/PROTOCOL.md, 5 and 10, Sleep), with stores that others see late.
 *
 * WRITERS publish work by setting a bit, MARKS times each; one server takes all bits, and sleeps when there are none. A store waits in its
 * processor's store buffer until it is written out, some time, or at a fence (x86-TSO; what a full fence orders is the same elsewhere). An
 * atomic exchange acts on memory. Wanted: when nothing can move any more no bit is left (no lost wake-up), and there were no more
 * kicks than marks (no endless one).
 *
 * NO_WRITER_FENCE, NO_SERVER_FENCE, LOOK_FIRST (the server looks before it says that it sleeps): wrong on purpose; each must be found.
 */
#ifndef WRITERS
#define WRITERS 2
#endif
#ifndef MARKS
#define MARKS 3
#endif

byte ready;         /* a bit for each writer */
bool sleeping;
bool kicked;        /* the eventfd is readable */
byte kicks, marks;

/* Store buffers, a place each: writer n's bit, the server's `sleeping`. */
bool late_bit[WRITERS];
bool late_sleeping, late_sleeping_value;

active proctype memory()
{
end:
	do
	:: atomic { late_sleeping -> sleeping = late_sleeping_value; late_sleeping = false }
	:: atomic { late_bit[0] -> ready = ready | 1; late_bit[0] = false }
#if WRITERS > 1
	:: atomic { late_bit[1] -> ready = ready | 2; late_bit[1] = false }
#endif
	od
}

active [WRITERS] proctype writer()
{
	byte me = _pid - 1, n;
	bool was;

	do
	:: n < MARKS ->
		atomic { !late_bit[me] -> late_bit[me] = true; marks++ }
		n++;
#ifndef NO_WRITER_FENCE
		!late_bit[me];
#endif
		if
		:: sleeping ->
			atomic { was = sleeping; sleeping = false }
			if
			:: was -> kicked = true; kicks++; was = false
			:: else
			fi
		:: else
		fi
	:: else -> break
	od
}

active proctype server()
{
	byte taken;

serve:
	atomic { taken = ready; ready = 0 }
	if
	:: taken -> goto serve
	:: else
	fi;
#ifdef LOOK_FIRST
	if
	:: ready -> goto serve
	:: else
	fi;
#endif
	atomic { !late_sleeping -> late_sleeping = true; late_sleeping_value = true }
#ifndef NO_SERVER_FENCE
	!late_sleeping;
#endif
#ifndef LOOK_FIRST
	if
	:: ready -> goto wake
	:: else
	fi;
#endif
end:
	kicked -> kicked = false;
wake:
	atomic { !late_sleeping -> late_sleeping = true; late_sleeping_value = false }
	goto serve
}

active proctype rest()
{
	timeout -> assert(ready == 0); assert(kicks <= marks)
}
