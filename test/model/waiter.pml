/*
 * waiter.pml: what extension/shared/waiter.c does. A part of wakeup.pml.
 */

#define BUSY 0
#define WAITING 1
#define WOKEN 2

typedef Session {
    byte state;
    byte since;          /* which call it waits */
    byte looks;          /* and looks: calls that come later may be for jobs that it does not see */
    byte room;           /* for so many jobs, when it began to wait */
    byte call[KINDS];    /* what it is called for, by kind of job: the call's number; 0: not */
    byte woken;          /* the call that woke it last */
    bool notice;         /* a NOTIFY is to be sent */

    /* what its client sees */
    bool told;  /* the latch is set, or a notification has arrived */
    bool sleeps /* until then */
}
Session session[SESSIONS];

byte events;
byte calls; /* made so far; their numbers. In C waits and looks have numbers, too, of the same sequence */

byte callable; /* sessions that may still be woken for the event */

/* ---- properties ---- */

bool woken_twice;    /* by the same call */
bool woken_too_many; /* for the jobs that there are */
bool woken_in_vain;  /* for a job of a kind that it surely may not take */

/* ---- under the lock ---- */

#define listed(me, kind) ((kind) == UNKNOWN || (vague(me) -> rule(VAGUE_MATCHES) : takes(me, kind)))
#define owes(me) (session[me].call[0] > 0 || session[me].call[1] > 0 || session[me].call[UNKNOWN] > 0)
#define called(me) ((session[me].call[0] > 0) + (session[me].call[1] > 0) + (session[me].call[UNKNOWN] > 0))

inline owe_nothing(me)
{
    session[me].call[0] = 0;
    session[me].call[1] = 0;
    session[me].call[UNKNOWN] = 0
}

inline stop_waiting(me)
{
    session[me].state = BUSY;
    session[me].since = 0;
    session[me].looks = 0;
    session[me].notice = false
}

/* What it owes already, it keeps. */
inline wait(me, jobs)
{
    session[me].state = WAITING;
    session[me].since = calls;
    session[me].room = jobs
}

inline tell(me)
{
    session[me].notice = NOTIFY;
    session[me].told = session[me].told || !NOTIFY;
    wanted = wanted || NOTIFY
}

inline wake(me, number, event)
{
    woken_twice = woken_twice || session[me].woken == number;
    assert(!woken_twice);
    woken_too_many = callable == 0;
    assert(!woken_too_many);
    woken_in_vain = !vague(me) && event != UNKNOWN && !takes(me, event);
    assert(!woken_in_vain);
    callable--;

    session[me].state = WOKEN;
    session[me].since = 0;
    session[me].woken = number;
    session[me].call[event] = number;
    tell(me)
}

#define waits(me) (session[me].state == WAITING)
#define may_be_woken(me, number, event) \
    (waits(me) && listed(me, event) && (session[me].since < number || !rule(PASSED_TO_OLDER)))

/* Nothing depends on which of them it is. */
inline wake_one(number, event)
{
    if
    :: may_be_woken(0, number, event) -> wake(0, number, event)
#if SESSIONS > 1
    :: may_be_woken(1, number, event) -> wake(1, number, event)
#endif
#if SESSIONS > 2
    :: may_be_woken(2, number, event) -> wake(2, number, event)
#endif
    :: else
    fi
}

/* A session that has been woken, and has room, need not have another woken beside it. */
#define counted_on(me, event) ((session[me].state == WOKEN || !rule(COUNTED_ON_IF_WOKEN)) && \
    listed(me, event) && called(me) < session[me].room)

/* For how long is left open. */
inline count_on_or_wake(number, event)
{
    if
    :: counted_on(0, event) -> session[0].call[event] = number
#if SESSIONS > 1
    :: counted_on(1, event) -> session[1].call[event] = number
#endif
#if SESSIONS > 2
    :: counted_on(2, event) -> session[2].call[event] = number
#endif
    :: wake_one(number, event)
    fi;
    callable = 0
}

inline pass_on_one(me, event)
{
    if
    :: session[me].call[event] > 0 ->
        callable = 1;
        wake_one(session[me].call[event], event);
        session[me].call[event] = 0;
        callable = 0
    :: else
    fi
}

inline pass_on(me)
{
    pass_on_one(me, 0);
    pass_on_one(me, 1);
    pass_on_one(me, UNKNOWN)
}

/* ---- for the others ---- */

/* So many jobs of the kind, one or none, may be claimed now. */
inline wake_for(event, jobs)
{
    if
    :: rule(COUNTED_BEFORE_WAKING) -> events++
    :: else
    fi;
    atomic {
        calls++;
        callable = jobs;
        count_on_or_wake(calls, event);
        if
        :: !rule(ONE_PER_JOB) -> wake_one(calls, event)
        :: else
        fi
    }
    if
    :: rule(COUNTED_BEFORE_WAKING)
    :: else -> events++
    fi
}

/* The session looks now, and does not wait. Woken it stays: an error must not lose the call. */
inline enter(me)
{
    if
    :: session[me].state == WOKEN ->
        session[me].notice = false;
        session[me].looks = calls
    :: else -> stop_waiting(me)
    fi
}

/* The look is over. What it was called for before is done if it has seen all that there is for it; else others may
 * be needed. What came since is for its next look. */
#define late(me, kind) (session[me].call[kind] > session[me].looks)
#define surely_takes(me, kind) ((kind) != UNKNOWN && !vague(me))

inline looked_for(me, kind, filled)
{
    duty[kind] = 0;
    if
    :: session[me].call[kind] == 0
    :: session[me].call[kind] > 0 && (filled || !late(me, kind) && !surely_takes(me, kind)) ->
        duty[kind] = session[me].call[kind]
    :: session[me].call[kind] > 0 && !filled && (late(me, kind) -> !rule(LATE_IS_OWED) : surely_takes(me, kind)) ->
        session[me].call[kind] = 0
    :: else
    fi
}

/* Passes on what is left of what the session was called for. */
inline pass_on_left(me, kind, left)
{
    if
    :: duty[kind] > 0 && kind == UNKNOWN ->
        if
        :: (left & 1) && rule(UNKNOWN_PASSED_ON) -> callable = 1; wake_one(duty[kind], 0)
        :: else
        fi;
        if
        :: (left & 2) && rule(UNKNOWN_PASSED_ON) -> callable = 1; wake_one(duty[kind], 1)
        :: else
        fi
    :: duty[kind] > 0 && kind != UNKNOWN && (left >> (kind) & 1) && rule(PASSED_ON_IF_LEFT) &&
        (rule(VAGUE_PASSES_ON) || !vague(me)) ->
        callable = 1;
        wake_one(duty[kind], kind)
    :: else
    fi;
    callable = 0;
    if
    :: duty[kind] > 0 && session[me].call[kind] == duty[kind] -> session[me].call[kind] = 0
    :: else
    fi;
    duty[kind] = 0
}

/* The session takes no more. */
inline leave(me)
{
    if
    :: rule(PASSED_ON_WHEN_LEAVING) -> pass_on(me)
    :: else -> owe_nothing(me)
    fi;
    stop_waiting(me)
}

/* The session must look again, but has found something already. */
inline wake_myself(me)
{
    if
    :: waits(me) ->
        session[me].state = WOKEN;
        session[me].since = 0;
        calls++;
        session[me].woken = calls;
        tell(me)
    :: else
    fi
}

inline session_ends(me)
{
    if
    :: rule(PASSED_ON_AT_END) -> pass_on(me)
    :: else -> owe_nothing(me)
    fi;
    stop_waiting(me)
}
