-- Functions of praisonai-persistence-supabase. Each is one request, and one transaction.
-- They run with the rights of who calls them, so row-level security holds, except for the four that say DEFINER.

-- What the tables and these functions are; for which version clients are that these serve at the least, and for which
-- version of the tables these were made. DEFINER: nobody else needs rights on the table of versions.
CREATE OR REPLACE FUNCTION {info}() RETURNS json
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $function$
  SELECT json_build_object('schema', (SELECT version FROM {schema} WHERE component = 'conversation'),
    'functions', {version}, 'serves', {serves}, 'tables', {tables})
$function$;

-- Whether there is such a session, also one that a policy hides. DEFINER, because nothing else could tell.
CREATE OR REPLACE FUNCTION {session_is_there}(p_session_id text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $function$
  SELECT EXISTS (SELECT 1 FROM {sessions} s WHERE s.session_id = p_session_id)
$function$;

-- Whether a session has one of these messages, or any with NULL, also those that a policy hides.
CREATE OR REPLACE FUNCTION {messages_are_there}(p_session_id text, p_ids text[]) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $function$
  SELECT EXISTS (
    SELECT 1 FROM {messages} m WHERE m.session_id = p_session_id
      AND (p_ids IS NULL OR m.id = ANY (p_ids))
  )
$function$;

-- Takes what is gone out of the full-text index, if it has not been dropped.
CREATE OR REPLACE FUNCTION {forget_words}(p_session_id text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $function$
BEGIN
  IF to_regclass('{search_progress}') IS NULL THEN
    RETURN;
  END IF;
  -- The row of its progress keeps others from indexing the session until this transaction ends.
  EXECUTE 'INSERT INTO {search_progress} (session_id, up_to, start, part) VALUES ($1, 0, 0, 0) ON CONFLICT DO NOTHING'
    USING p_session_id;
  EXECUTE 'SELECT 1 FROM {search_progress} WHERE session_id = $1 FOR UPDATE' USING p_session_id;
  EXECUTE 'DELETE FROM {search_words} w WHERE w.session_id = $1 AND NOT EXISTS '
    '(SELECT 1 FROM {messages} m WHERE m.session_id = w.session_id AND m.seq = w.seq)' USING p_session_id;
  EXECUTE 'DELETE FROM {search_progress} k WHERE k.session_id = $1 AND NOT EXISTS '
    '(SELECT 1 FROM {sessions} s WHERE s.session_id = k.session_id)' USING p_session_id;
END
$function$;

-- Raises what a policy would otherwise turn into nothing.
CREATE OR REPLACE FUNCTION {refuse}() RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $function$
BEGIN
  RAISE EXCEPTION 'a policy of row-level security refuses this' USING ERRCODE = '42501';
END
$function$;

-- Locks the row of a session, which is the lock of its messages; NULL: there is none.
CREATE OR REPLACE FUNCTION {lock_session}(p_session_id text) RETURNS {sessions}
LANGUAGE plpgsql SET search_path = '' AS $function$
DECLARE
  v {sessions};
BEGIN
  FOR attempt IN 1..2 LOOP
    SELECT * INTO v FROM {sessions} s WHERE s.session_id = p_session_id FOR UPDATE;
    IF FOUND THEN
      RETURN v;
    ELSIF NOT {session_is_there}(p_session_id) THEN
      RETURN NULL;
    END IF;  -- somebody has just made it, or a policy hides it
  END LOOP;
  PERFORM {refuse}();
END
$function$;

-- Stores a new session; returns whether there was none of this id.
CREATE OR REPLACE FUNCTION {create_session}(
  {session_parameters}
) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $function$
BEGIN
  INSERT INTO {sessions} ({session_columns}, last_seq)
    VALUES ({session_arguments}, 1, 0)
    ON CONFLICT (session_id) DO NOTHING;
  RETURN FOUND;
END
$function$;

CREATE OR REPLACE FUNCTION {get_session}(p_session_id text) RETURNS json
LANGUAGE sql STABLE SET search_path = '' AS $function$
  SELECT json_build_array({session_columns}) FROM {sessions} WHERE session_id = p_session_id
$function$;

-- Replaces five columns; returns [created_at, updated_at, version], [version] where another one was expected, or NULL.
CREATE OR REPLACE FUNCTION {update_session}(
  p_session_id text, p_user_id text, p_agent_id text, p_name text, p_state text, p_metadata text, p_expected bigint,
  p_now float8
) RETURNS json
LANGUAGE plpgsql SET search_path = '' AS $function$
DECLARE
  v {sessions} := {lock_session}(p_session_id);
BEGIN
  IF v.session_id IS NULL THEN
    RETURN NULL;
  ELSIF v.version <> p_expected THEN
    RETURN json_build_array(v.version);
  END IF;
  UPDATE {sessions} s SET user_id = p_user_id, agent_id = p_agent_id, name = p_name, state = p_state,
      metadata = p_metadata, updated_at = {later}, version = s.version + 1
    WHERE s.session_id = p_session_id
    RETURNING s.* INTO v;
  IF NOT FOUND THEN
    PERFORM {refuse}();
  END IF;
  RETURN json_build_array(v.created_at, v.updated_at, v.version);
END
$function$;

-- Creates a session or replaces five columns; returns [created_at, updated_at, version].
CREATE OR REPLACE FUNCTION {upsert_session}(
  {session_parameters}, p_now float8
) RETURNS json
LANGUAGE plpgsql SET search_path = '' AS $function$
DECLARE
  v {sessions};
BEGIN
  INSERT INTO {sessions} AS s ({session_columns}, last_seq)
    VALUES ({session_arguments}, 1, 0)
    ON CONFLICT (session_id) DO UPDATE SET user_id = excluded.user_id, agent_id = excluded.agent_id,
      name = excluded.name, state = excluded.state, metadata = excluded.metadata, updated_at = {later},
      version = s.version + 1
    RETURNING s.* INTO v;
  IF NOT FOUND THEN
    PERFORM {refuse}();
  END IF;
  RETURN json_build_array(v.created_at, v.updated_at, v.version);
END
$function$;

-- Removes a session with its messages; returns whether there was one.
CREATE OR REPLACE FUNCTION {delete_session}(p_session_id text) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $function$
DECLARE
  v {sessions} := {lock_session}(p_session_id);
BEGIN
  IF v.session_id IS NULL THEN
    RETURN false;
  END IF;
  DELETE FROM {messages} WHERE session_id = p_session_id;
  DELETE FROM {sessions} WHERE session_id = p_session_id;
  IF NOT FOUND OR {messages_are_there}(p_session_id, NULL) THEN
    PERFORM {refuse}();
  END IF;
  PERFORM {forget_words}(p_session_id);
  RETURN true;
END
$function$;

CREATE OR REPLACE FUNCTION {list_sessions}(p_user_id text, p_agent_id text, p_limit bigint, p_offset bigint)
RETURNS json
LANGUAGE plpgsql STABLE SET search_path = '' AS $function$
DECLARE
  v json;
BEGIN
  IF p_user_id IS NULL THEN
    SELECT json_agg(json_build_array({session_columns})) INTO v FROM (
      SELECT * FROM {sessions} s WHERE p_agent_id IS NULL OR s.agent_id = p_agent_id
      ORDER BY s.updated_at DESC, s.session_id LIMIT p_limit OFFSET p_offset
    ) found;
  ELSE
    SELECT json_agg(json_build_array({session_columns})) INTO v FROM (
      SELECT * FROM {sessions} s WHERE s.user_id = p_user_id AND (p_agent_id IS NULL OR s.agent_id = p_agent_id)
      ORDER BY s.updated_at DESC, s.session_id LIMIT p_limit OFFSET p_offset
    ) found;
  END IF;
  RETURN coalesce(v, '[]'::json);
END
$function$;

-- Copies a session with its messages up to a number. Returns the new one, [] if there is one already, or NULL: no original.
CREATE OR REPLACE FUNCTION {fork_session}(p_session_id text, p_up_to bigint, p_new_id text, p_now float8)
RETURNS json
LANGUAGE plpgsql SET search_path = '' AS $function$
DECLARE
  v {sessions} := {lock_session}(p_session_id);
  v_last bigint;
BEGIN
  IF v.session_id IS NULL THEN
    RETURN NULL;
  END IF;
  SELECT coalesce(max(m.seq), 0) INTO v_last FROM {messages} m
    WHERE m.session_id = p_session_id AND m.seq <= coalesce(p_up_to, v.last_seq);
  INSERT INTO {sessions} ({session_columns}, last_seq) VALUES
    (p_new_id, v.user_id, v.agent_id, v.name, v.state, v.metadata, p_now, p_now, 1, v_last)
    ON CONFLICT (session_id) DO NOTHING;
  IF NOT FOUND THEN
    RETURN '[]'::json;
  END IF;
  INSERT INTO {messages} (session_id, {message_columns})
    SELECT p_new_id, {message_columns} FROM {messages} m WHERE m.session_id = p_session_id AND m.seq <= v_last;
  RETURN json_build_array(p_new_id, v.user_id, v.agent_id, v.name, v.state, v.metadata, p_now, p_now, 1);
END
$function$;

-- Appends messages, all or none; an element of each array is of one message. Returns [the last seq before them, those
-- that were there already, whether it was done]; NULL: no such session. A message that is there already is not stored again. Where it
-- differs, and is not among p_same, nothing is done: the caller compares, because JSON has many ways to be written.
CREATE OR REPLACE FUNCTION {add_messages}(
  p_session_id text, {message_parameters}, p_same text[], p_now float8
) RETURNS json
LANGUAGE plpgsql SET search_path = '' AS $function$
DECLARE
  v {sessions} := {lock_session}(p_session_id);
  v_stored json;
  v_differ boolean;
  v_added bigint;
BEGIN
  IF v.session_id IS NULL THEN
    RETURN NULL;
  END IF;
  SELECT json_agg(json_build_array({stored_columns})),
      bool_or((m.role, m.content, m.tool_calls, m.tool_call_id, m.metadata) IS DISTINCT FROM
        (r.role, r.content, r.tool_calls, r.tool_call_id, r.metadata)
        AND m.id <> ALL (p_same))
    INTO v_stored, v_differ
    FROM unnest({message_arguments}) AS r({given_columns})
    JOIN {messages} m ON m.session_id = p_session_id AND m.id = r.id;
  IF v_differ THEN
    RETURN json_build_array(v.last_seq, v_stored, false);
  END IF;
  INSERT INTO {messages} (session_id, {message_columns})
    SELECT p_session_id, r.id, r.role, r.content, r.tool_calls, r.tool_call_id, r.metadata, r.created_at,
      v.last_seq + row_number() OVER (ORDER BY r.n)
    FROM unnest({message_arguments}) WITH ORDINALITY
      AS r({given_columns}, n)
    WHERE v_stored IS NULL OR NOT EXISTS (
      SELECT 1 FROM {messages} m WHERE m.session_id = p_session_id AND m.id = r.id
    );
  GET DIAGNOSTICS v_added = ROW_COUNT;
  IF v_added > 0 THEN
    UPDATE {sessions} s SET last_seq = s.last_seq + v_added, updated_at = {later} WHERE s.session_id = p_session_id;
    IF NOT FOUND THEN
      PERFORM {refuse}();
    END IF;
  END IF;
  RETURN json_build_array(v.last_seq, v_stored, true);
END
$function$;

-- Returns messages, oldest first: with p_limit the latest.
CREATE OR REPLACE FUNCTION {get_messages}(
  p_session_id text, p_before_seq bigint, p_after_seq bigint, p_before float8, p_after float8, p_limit bigint
) RETURNS json
LANGUAGE plpgsql STABLE SET search_path = '' AS $function$
DECLARE
  v json;
BEGIN
  SELECT json_agg(json_build_array({stored_columns}) ORDER BY m.seq) INTO v FROM (
    SELECT * FROM {messages} t WHERE t.session_id = p_session_id
      AND t.seq < coalesce(p_before_seq, 9223372036854775807) AND t.seq > coalesce(p_after_seq, 0)
      AND (p_before IS NULL OR t.created_at < p_before) AND (p_after IS NULL OR t.created_at > p_after)
    ORDER BY t.seq DESC LIMIT p_limit
  ) m;
  RETURN coalesce(v, '[]'::json);
END
$function$;

CREATE OR REPLACE FUNCTION {count_messages}(p_session_id text) RETURNS bigint
LANGUAGE sql STABLE SET search_path = '' AS $function$
  SELECT count(*) FROM {messages} WHERE session_id = p_session_id
$function$;

-- Deletes messages, all with NULL; returns how many.
CREATE OR REPLACE FUNCTION {delete_messages}(p_session_id text, p_ids text[], p_now float8) RETURNS bigint
LANGUAGE plpgsql SET search_path = '' AS $function$
DECLARE
  v {sessions} := {lock_session}(p_session_id);
  v_gone bigint;
BEGIN
  IF v.session_id IS NULL THEN
    RETURN 0;
  END IF;
  DELETE FROM {messages} m WHERE m.session_id = p_session_id
    AND (p_ids IS NULL OR m.id = ANY (p_ids));
  GET DIAGNOSTICS v_gone = ROW_COUNT;
  IF {messages_are_there}(p_session_id, p_ids) THEN
    PERFORM {refuse}();
  END IF;
  IF v_gone > 0 THEN
    UPDATE {sessions} s SET updated_at = {later} WHERE s.session_id = p_session_id;
    IF NOT FOUND THEN
      PERFORM {refuse}();
    END IF;
    PERFORM {forget_words}(p_session_id);
  END IF;
  RETURN v_gone;
END
$function$;

-- Deletes messages, appends others and updates the session, or creates it if p_version is 0; all at once. Returns what
-- stands in the way, or else the session.
CREATE OR REPLACE FUNCTION {rewrite_session}(
  {session_parameters}, p_version bigint, p_remove text[],
  {message_parameters}, p_same text[], p_now float8
) RETURNS json
LANGUAGE plpgsql SET search_path = '' AS $function$
DECLARE
  v json;
BEGIN
  IF p_version = 0 THEN
    IF NOT {create_session}({session_arguments}) THEN
      RETURN json_build_object('exists', true);
    END IF;
  ELSE
    v := {update_session}(
      p_session_id, p_user_id, p_agent_id, p_name, p_state, p_metadata, p_version, p_now
    );
    IF v IS NULL OR json_array_length(v) = 1 THEN
      RETURN json_build_object('version', v -> 0);
    END IF;
    PERFORM {delete_messages}(p_session_id, p_remove, p_now);
  END IF;
  IF cardinality(p_each_id) > 0 THEN
    v := {add_messages}(p_session_id, {message_arguments}, p_same, p_now);
    IF NOT (v ->> 2)::boolean THEN
      RAISE EXCEPTION 'a message differs' USING ERRCODE = 'PT409';
    END IF;
  END IF;
  RETURN json_build_object('session', {get_session}(p_session_id));
EXCEPTION WHEN SQLSTATE 'PT409' THEN  -- all of it is undone
  RETURN json_build_object('differ', v -> 1);
END
$function$;

-- What the full-text index lacks, of sessions behind p_after: for each of them its id, up to where it is indexed, the
-- number up to which the messages here are all, and these: number, content, and a digest of that. It ends after so many
-- characters and items; then `after` is the last session that is here as a whole, else NULL. The caller finds the words,
-- because those of the backend `postgres` are the same.
CREATE OR REPLACE FUNCTION {search_behind}(p_user_id text, p_after text, p_characters bigint, p_items bigint)
RETURNS json
LANGUAGE plpgsql STABLE SET search_path = '' AS $function$
DECLARE
  v record;
  m record;
  v_found json[] := '{{}}';
  v_messages json[];
  v_up_to bigint;
  v_left bigint := p_items;
BEGIN
  FOR v IN
    SELECT s.session_id, s.last_seq, coalesce(k.up_to, 0) AS up_to, coalesce(k.start, 0) AS start,
      coalesce(k.part, 0) AS part
    FROM {sessions} s LEFT JOIN {search_progress} k ON k.session_id = s.session_id
    WHERE s.last_seq > coalesce(k.up_to, 0) AND s.session_id > p_after
      AND (p_user_id IS NULL OR s.user_id = p_user_id)
    ORDER BY s.session_id LIMIT p_items
  LOOP
    v_messages := '{{}}';
    v_up_to := v.last_seq;
    FOR m IN
      SELECT t.seq, t.content FROM {messages} t
      WHERE t.session_id = v.session_id AND t.seq > v.up_to AND t.seq <= v.last_seq ORDER BY t.seq
    LOOP
      IF v_left <= 0 OR p_characters <= 0 THEN  -- at least one message comes along
        v_up_to := m.seq - 1;
        EXIT;
      END IF;
      v_messages := array_append(v_messages, json_build_array(m.seq, m.content, encode(sha256(convert_to(coalesce(m.content, ''), 'UTF8')), 'hex')));
      p_characters := p_characters - length(coalesce(m.content, ''));
      v_left := v_left - 1;
    END LOOP;
    v_found := array_append(
      v_found, json_build_array(v.session_id, v.up_to, v.start, v.part, v_up_to, array_to_json(v_messages))
    );
    IF v_up_to < v.last_seq THEN
      RETURN json_build_object('sessions', array_to_json(v_found), 'after', p_after);
    END IF;
    p_after := v.session_id;
    v_left := v_left - 1;
    IF v_left <= 0 OR p_characters <= 0 THEN
      RETURN json_build_object('sessions', array_to_json(v_found), 'after', p_after);
    END IF;
  END LOOP;
  RETURN json_build_object('sessions', array_to_json(v_found), 'after', NULL);
END
$function$;

-- Adds words to the full-text index. Each session, in the text of a JSON array, has its id, up to where it was indexed, up to where it is then, and
-- rows: number, part, digest of the content, words. Returns whether that was done of all of them: it is not done of one
-- that others have indexed, or whose messages have changed, in between. The row of the progress is the lock.
CREATE OR REPLACE FUNCTION {search_add}(p_sessions text) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $function$
DECLARE
  v json;
  v_id text;
  v_progress {search_progress};
  v_last bigint;
  v_all boolean := true;
BEGIN
  FOR v IN SELECT e.value FROM json_array_elements(p_sessions::json) WITH ORDINALITY AS e(value, n) ORDER BY e.n LOOP
    v_id := v ->> 0;
    INSERT INTO {search_progress} (session_id, up_to, start, part) VALUES (v_id, 0, 0, 0) ON CONFLICT DO NOTHING;
    SELECT * INTO v_progress FROM {search_progress} k WHERE k.session_id = v_id FOR UPDATE;
    SELECT s.last_seq INTO v_last FROM {sessions} s WHERE s.session_id = v_id;
    IF NOT FOUND THEN
      DELETE FROM {search_progress} k WHERE k.session_id = v_id;
    ELSIF v_progress.session_id IS NULL OR v_last < (v ->> 4)::bigint
      OR (v_progress.up_to, v_progress.start, v_progress.part)
        <> ((v ->> 1)::bigint, (v ->> 2)::bigint, (v ->> 3)::bigint)
      OR EXISTS (
        SELECT 1 FROM (SELECT DISTINCT (r ->> 0)::bigint AS seq, r ->> 2 AS digest FROM json_array_elements(v -> 7) r) g
        JOIN {messages} m ON m.session_id = v_id AND m.seq = g.seq
        WHERE encode(sha256(convert_to(coalesce(m.content, ''), 'UTF8')), 'hex') <> g.digest
      )
    THEN
      v_all := false;
    ELSE
      INSERT INTO {search_words} AS w (session_id, seq, part, created_at, words)
        SELECT v_id, m.seq, (r ->> 1)::bigint, m.created_at, (r ->> 3)::tsvector
        FROM json_array_elements(v -> 7) r
        JOIN {messages} m ON m.session_id = v_id AND m.seq = (r ->> 0)::bigint
        ON CONFLICT (session_id, seq, part) DO UPDATE SET created_at = excluded.created_at, words = excluded.words;
      UPDATE {search_progress} k SET up_to = (v ->> 4)::bigint, start = (v ->> 5)::bigint, part = (v ->> 6)::bigint
        WHERE k.session_id = v_id;
    END IF;
  END LOOP;
  RETURN v_all;
END
$function$;

-- Returns messages that the full-text index finds, each behind the id of its session, the latest first.
CREATE OR REPLACE FUNCTION {search_messages}(p_query text, p_user_id text, p_limit bigint, p_offset bigint)
RETURNS json
LANGUAGE plpgsql STABLE SET search_path = '' AS $function$
DECLARE
  v json;
BEGIN
  SELECT json_agg(json_build_array(m.session_id, {stored_columns}) ORDER BY m.created_at DESC, m.session_id, m.seq DESC)
    INTO v FROM (
      SELECT DISTINCT f.session_id, f.seq, f.created_at FROM {search_words} f
      WHERE f.words @@ p_query::tsquery AND (p_user_id IS NULL OR EXISTS (
        SELECT 1 FROM {sessions} s WHERE s.session_id = f.session_id AND s.user_id = p_user_id
      ))
      ORDER BY f.created_at DESC, f.session_id, f.seq DESC LIMIT p_limit OFFSET p_offset
    ) k JOIN {messages} m ON m.session_id = k.session_id AND m.seq = k.seq;
  RETURN coalesce(v, '[]'::json);
END
$function$;
