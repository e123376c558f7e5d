"""The isolation code with one mistake in it, many times over; each names the test that must see the mistake.

`old` stands exactly once in the file (below `src/carrel`). Where one wall stands behind another, the named test looks
at the one that falls: a test that sees only both together would let each of them fall unseen.
"""

from dataclasses import dataclass
from typing import Final

WALLS: Final = "tests/store/test_walls.py::"
FRESH: Final = "tests/store/test_catalogue.py::test_every_wall_of_a_fresh_database_stands"
BOUND: Final = "tests/store/test_drift.py::test_every_scan_of_a_tenants_table_is_bound_to_the_tenant"
GRANTS: Final = "tests/house/test_grants.py::"
HOUSE: Final = "tests/journeys/test_isolation_scenarios.py::"
LIAR: Final = "tests/journeys/test_isolation_liar.py::"
AWAY: Final = "tests/api/test_what_is_taken_away.py::"
TWICE: Final = "tests/api/test_two_walls.py::"
MACHINE: Final = "tests/proof/test_isolation_machine.py"
WORD: Final = "tests/store/test_last_word.py::"
CHATS: Final = "tests/journeys/test_chats.py::"
PEOPLE: Final = "tests/journeys/test_people.py::"
TOKENS: Final = "tests/unit/test_tokens.py::test_a_forgery_is_refused"
FIRST: Final = "store/migrations/versions/0001_first.py"
DEFINED: Final = "nullif(current_setting('carrel.tenant', true), '')::uuid"


@dataclass(frozen=True)
class Mutant:
    """One mistake: in `file` the text `old` becomes `new`, and `test` must fail."""

    name: str
    file: str
    old: str
    new: str
    test: str


MUTANTS: Final = (
    # The first wall: authorization
    Mutant(
        "another seal makes a grant",
        "domain/access.py",
        "if seal is not _SEAL:",
        "if seal is None:",
        f"{GRANTS}test_no_other_seal_makes_a_grant",
    ),
    Mutant(
        "a grant forgets the sources of a limited key",
        "domain/access.py",
        "principal.only_sources,\n        principal.only_bots,",
        "None,\n        principal.only_bots,",
        f"{HOUSE}test_a_key_of_one_source_reads_that_source_only",
    ),
    Mutant(
        "a grant forgets the bots of a limited key",
        "domain/access.py",
        "principal.only_sources,\n        principal.only_bots,",
        "principal.only_sources,\n        None,",
        f"{HOUSE}test_a_key_of_one_bot_reads_that_bots_sources_only",
    ),
    Mutant(
        "a scope is wider than its grant",
        "domain/access.py",
        "if grant.sources is not None and not wanted <= grant.sources:",
        "if False:",
        f"{GRANTS}test_a_scope_is_never_wider_than_its_grant",
    ),
    Mutant(
        "an index searches outside of the grant",
        "domain/access.py",
        "return sources if grant.sources is None else sources & grant.sources",
        "return sources",
        f"{GRANTS}test_an_index_searches_nothing_outside_of_the_grant",
    ),
    Mutant(
        "a limited key decides on the whole tenant",
        "domain/access.py",
        "if grant.sources is not None or grant.bots is not None:",
        "if False:",
        f"{HOUSE}test_a_limited_key_cannot_widen_itself",
    ),
    Mutant(
        "any scope gives any permission",
        "domain/access.py",
        "return not right.scopes.isdisjoint(principal.scopes)",
        "return bool(principal.scopes)",
        f"{GRANTS}test_each_scope_gives_what_the_table_says_only",
    ),
    Mutant(
        "a search for a bot reads every source",
        "store/sources.py",
        "    rows = await tx.rows(_READABLE, wanted=wanted, bot=wish.bot)",
        "    rows = await tx.rows(_READABLE, wanted=wanted, bot=None)",
        f"{HOUSE}test_1_bot_a_searches_only_its_own_sources",
    ),
    Mutant(
        "a key of one bot asks through another",
        "store/sources.py",
        "bot in tx.grant.bots",
        "bool(bot)",
        f"{HOUSE}test_a_key_of_one_bot_reads_that_bots_sources_only",
    ),
    Mutant(
        "a key of one bot gets every source from the lookup",
        "store/functions.sql",
        "case when k.source_ids is null and k.bot_ids is null then null",
        "case when k.source_ids is null then null",
        f"{HOUSE}test_a_key_of_one_bot_reads_that_bots_sources_only",
    ),
    Mutant(
        "a key is limited to sources that nobody looked up",
        "tenancy/keys.py",
        "        if wish.sources is not None:",
        "        if False:",
        f"{TWICE}test_a_key_is_limited_to_what_its_maker_sees_and_each_id_is_looked_up",
    ),
    Mutant(
        "a bot outside of the key is told from one that is absent",
        "store/sources.py",
        "    if not allowed or not await tx.value(_BOT, id=bot):\n        raise NotFound",
        "    if not allowed:\n        raise Conflict('That is not your bot.')\n"
        "    if not await tx.value(_BOT, id=bot):\n        raise NotFound",
        f"{HOUSE}test_a_key_of_one_bot_reads_that_bots_sources_only",
    ),
    # Credentials
    Mutant(
        "any secret proves a key",
        "tenancy/principals.py",
        "if found is None or not key.proves(found.mac, self._pepper):",
        "if found is None:",
        "tests/api/test_bad_input.py::test_a_bearer_in_any_case_and_with_a_wrong_secret",
    ),
    Mutant(
        "a revoked key is accepted",
        "tenancy/principals.py",
        "if found.revoked:",
        "if False:",
        "tests/api/test_bad_input.py::test_a_revoked_key_is_dead_from_the_next_request_on",
    ),
    Mutant(
        "an expired key is accepted",
        "tenancy/principals.py",
        "if found.expired:",
        "if False:",
        f"{AWAY}test_a_key_whose_time_is_over_is_dead",
    ),
    Mutant(
        "a suspended tenant is served",
        "tenancy/principals.py",
        "if not found.active:",
        "if False:",
        f"{AWAY}test_keys_of_a_tenant_that_is_not_active_are_dead",
    ),
    # The second wall: the index
    Mutant(
        "the nearest vectors of every tenant",
        "store/functions.sql",
        "where d.tenant_id = tenant and d.generation_id",
        "where d.generation_id",
        f"{WALLS}test_searching_with_anothers_ids_gives_nothing",
    ),
    Mutant(
        "the matching words of every tenant",
        "store/functions.sql",
        "where l.tenant_id = tenant and l.generation_id",
        "where l.generation_id",
        f"{WALLS}test_searching_with_anothers_ids_gives_nothing",
    ),
    Mutant(
        "an index forgets which sources are allowed",
        "store/functions.sql",
        "d.generation_id = generation and d.source_id = any (allowed)",
        "d.generation_id = generation",
        "tests/contract/test_vectors.py::test_a_source_outside_the_list_does_not_use_up_the_limit",
    ),
    Mutant(
        "statistics are cached without their tenant",
        "adapters/lexical/postgres.py",
        "        kept = self._kept.get((tenant, generation))\n",
        "        tenant = next((one for one, its in self._kept if its == generation), tenant)\n"
        "        kept = self._kept.get((tenant, generation))\n",
        "tests/contract/test_lexical.py::test_statistics_are_kept_by_tenant_and_only_while_they_are_true",
    ),
    Mutant(
        "a twin's vector is copied from another tenant",
        "store/functions.sql",
        "d.generation_id = generation and d.tenant_id = tenant",
        "d.generation_id = generation",
        f"{WALLS}test_anothers_entries_cannot_be_forgotten_copied_overwritten_or_redacted",
    ),
    Mutant(
        "another tenant's answers are redacted",
        "store/functions.sql",
        "where m.tenant_id = tenant and m.status <> 'removed'",
        "where m.status <> 'removed'",
        f"{WALLS}test_anothers_entries_cannot_be_forgotten_copied_overwritten_or_redacted",
    ),
    Mutant(
        "the names of another tenant's blobs",
        "store/functions.sql",
        f"where v.tenant_id = {DEFINED} and",
        "where",
        f"{WORD}test_nobody_learns_whether_anothers_blob_is_named",
    ),
    Mutant(
        "another tenant's bytes are read again",
        "store/functions.sql",
        f"where k.content_code is null and k.tenant_id = {DEFINED}",
        "where k.content_code is null",
        f"{WORD}test_nobody_is_told_which_bytes_of_another_are_due",
    ),
    Mutant(
        "another tenant's lost bytes are looked for",
        "store/functions.sql",
        f"where k.content_code is not null and k.tenant_id = {DEFINED}",
        "where k.content_code is not null",
        f"{WORD}test_nobody_is_told_which_files_of_another_are_due",
    ),
    Mutant(
        "another tenant's lost files are counted",
        "store/functions.sql",
        f"select f.content_code from brought_files f\n        where f.tenant_id = {DEFINED}\n",
        "select f.content_code from brought_files f\n",
        f"{WORD}test_nobody_is_told_which_files_of_another_are_due",
    ),
    Mutant(
        "another tenant's lost bytes are counted",
        "store/functions.sql",
        f"from document_versions v\n        where v.tenant_id = {DEFINED}\n",
        "from document_versions v\n",
        f"{WORD}test_nobody_is_told_which_bytes_of_another_are_due",
    ),
    # The third wall: PostgreSQL
    Mutant(
        "the tenant outlives its transaction",
        "store/transaction.py",
        "set_config('carrel.tenant', '{}', true)",
        "set_config('carrel.tenant', '{}', false)",
        f"{WALLS}test_a_pooled_connection_remembers_nothing[_commit]",
    ),
    Mutant(
        "a grant's words are sent as they are",
        "store/transaction.py",
        "if not all(_PLAIN.fullmatch(value) for value in bindings):",
        "if False:",
        f"{WORD}test_a_grant_that_holds_more_than_ids_opens_nothing",
    ),
    Mutant(
        "a caller gives a statement its tenant",
        "store/transaction.py",
        'if "tenant" in values:',
        "if False:",
        f"{WALLS}test_a_statement_takes_its_tenant_from_the_grant_and_from_nobody_else",
    ),
    Mutant(
        "text is loaded whatever its tenant",
        "store/chunks.py",
        "where c.tenant_id = :tenant and c.id = any (:ids)",
        "where c.id = any (:ids)",
        f"{BOUND}[store.chunks._LOAD]",
    ),
    Mutant(
        "a source is read whatever its tenant",
        "store/sources.py",
        "select {_COLUMNS}, {_RUNS}, {_COUNTS} from sources s\n    where s.tenant_id = :tenant and s.id = :id",
        "select {_COLUMNS}, {_RUNS}, {_COUNTS} from sources s\n    where s.id = :id",
        f"{BOUND}[store.sources._GET]",
    ),
    Mutant(
        "text of a version that is not live is shown",
        "store/chunks.py",
        'if row["live"] and',
        "if",
        f"{LIAR}test_chunks_that_are_not_live_are_dropped_without_an_alarm",
    ),
    Mutant(
        "text of another generation is shown",
        "store/chunks.py",
        " and c.generation_id = :generation as live",
        " as live",
        f"{LIAR}test_chunks_of_another_generation_are_dropped",
    ),
    Mutant(
        "text is loaded from sources that were not named",
        "store/chunks.py",
        "c.source_id = any (:sources) as allowed",
        "true as allowed",
        f"{WORD}test_text_is_loaded_from_the_named_sources_only_however_wide_the_grant_is",
    ),
    Mutant(
        "a policy shows every tenant",
        FIRST,
        "using (tenant_id = {TENANT}) with check",
        "using (true) with check",
        f"{WALLS}test_a_tenant_sees_rows_of_its_own_only",
    ),
    Mutant(
        "a policy without its check",
        FIRST,
        "using (tenant_id = {TENANT}) with check (tenant_id = {TENANT})",
        "using (tenant_id = {TENANT}) with check (true)",
        f"{WALLS}test_a_row_cannot_be_written_for_another_tenant",
    ),
    Mutant(
        "a policy for everybody",
        FIRST,
        "create policy tenant on {table} to {app} using",
        "create policy tenant on {table} using",
        FRESH,
    ),
    Mutant(
        "no policy for what is private",
        FIRST,
        "for table in PRIVATE:",
        "for table in ():",
        f"{WALLS}test_what_is_private_is_shown_to_its_owner_only",
    ),
    Mutant(
        "no policy for the sources of a grant",
        FIRST,
        "for table, column in SOURCE_COLUMN.items():",
        "for table, column in ():",
        f"{WALLS}test_a_list_of_sources_shows_these_and_no_other",
    ),
    Mutant(
        "a restrictive policy that permits",
        FIRST,
        "create policy owner on {table} as restrictive to",
        "create policy owner on {table} as permissive to",
        f"{WALLS}test_a_tenant_sees_rows_of_its_own_only",
    ),
    Mutant(
        "row-level security that is not forced",
        FIRST,
        "enable row level security;\\nalter table {name} force row level security",
        "enable row level security",
        FRESH,
    ),
    Mutant(
        "index tables that everybody reads",
        FIRST,
        "grant select, insert, update, delete on {table} to {index}",
        "grant select, insert, update, delete on {table} to {index}, public",
        f"{WALLS}test_index_tables_and_their_partitions_cannot_be_touched",
    ),
    Mutant(
        "a serving role above the policies",
        "adapters/postgres/bootstrap.sql",
        "login nosuperuser nobypassrls nocreatedb nocreaterole noinherit",
        "login nosuperuser bypassrls nocreatedb nocreaterole noinherit",
        FRESH,
    ),
    Mutant(
        "a mighty serving role is not noticed at the start",
        "store/catalogue.py",
        'if role is None or role["mighty"]:',
        "if role is None:",
        "tests/store/test_drift.py::test_a_mighty_serving_role_is_found",
    ),
    # What is kept
    Mutant(
        "a private chunk has no owner",
        "store/chunks.py",
        '"owner": version.owner,',
        '"owner": None,',
        f"{WALLS}test_what_is_private_is_shown_to_its_owner_only",
    ),
    Mutant(
        "a private source is everybody's",
        "store/sources.py",
        "            owner=source.owner,\n",
        "            owner=None,\n",
        f"{HOUSE}test_a_private_source_is_its_owners_alone",
    ),
    Mutant(
        "another member's chat goes on",
        "store/chats.py",
        "    if chat is not None:\n        await get(tx, chat)",
        "    if False:\n        await get(tx, chat)",
        f"{HOUSE}test_a_chat_of_another_key_is_not_there",
    ),
    # Chats and end users
    Mutant(
        "no policy for end users",
        "store/migrations/versions/0010_conversations.py",
        'for table in ("chats", "messages", "feedback"):',
        "for table in ():",
        f"{CHATS}test_the_database_shows_the_chats_of_one_end_user_only",
    ),
    Mutant(
        "an end user's name is compared as it is",
        "store/migrations/versions/0010_conversations.py",
        "or coalesce(encode(convert_to(end_user, 'UTF8'), 'hex'), '') = (select {END_USER}))",
        "or coalesce(end_user, '') = (select {END_USER}))",
        f"{CHATS}test_the_database_shows_the_chats_of_one_end_user_only",
    ),
    Mutant(
        "feedback is everybody's",
        "store/migrations/versions/0010_conversations.py",
        "create policy owner on feedback as restrictive to",
        "create policy owner on feedback as permissive to",
        f"{CHATS}test_the_database_lets_nobody_write_for_another_end_user",
    ),
    Mutant(
        "citations are everybody's",
        "store/migrations/versions/0010_conversations.py",
        "create policy message on citations as restrictive to",
        "create policy message on citations as permissive to",
        f"{CHATS}test_the_database_shows_the_chats_of_one_end_user_only",
    ),
    Mutant(
        "a list of chats forgets whose they are",
        "store/chats.py",
        "c.tenant_id = :tenant and c.owner_id = :owner and coalesce(c.end_user, '') = :end_user::text",
        "c.tenant_id = :tenant and (c.owner_id = :owner or true) and coalesce(c.end_user, '') = :end_user::text",
        f"{CHATS}test_each_statement_on_chats_says_itself_whose_they_are[_LIST_CHATS]",
    ),
    Mutant(
        "a list of chats forgets for whom they are",
        "store/chats.py",
        "c.tenant_id = :tenant and c.owner_id = :owner and coalesce(c.end_user, '') = :end_user::text",
        "c.tenant_id = :tenant and c.owner_id = :owner and (coalesce(c.end_user, '') = :end_user::text or true)",
        f"{CHATS}test_each_statement_on_chats_says_itself_whose_they_are[_LIST_CHATS]",
    ),
    Mutant(
        "feedback is withdrawn whoever gave it",
        "store/chats.py",
        "f.message_id = :id and f.owner_id = :owner",
        "f.message_id = :id and (f.owner_id = :owner or true)",
        f"{CHATS}test_each_statement_on_chats_says_itself_whose_they_are[_WITHDRAW]",
    ),
    Mutant(
        "a grant forgets its end user",
        "domain/access.py",
        "        _SEAL,\n        end_user,\n    )",
        "        _SEAL,\n        None,\n    )",
        "tests/api/test_chats.py::test_an_end_user_sees_that_ones_chats_only",
    ),
    Mutant(
        "an answer is shown whatever it quotes",
        "store/chats.py",
        'hidden = row["status"] == KeptStatus.REMOVED or not all(one.is_readable for one in quotations)',
        'hidden = row["status"] == KeptStatus.REMOVED',
        "tests/api/test_chats.py::test_a_limited_key_reads_no_answer_that_quotes_another_source",
    ),
    Mutant(
        "chats of today are forgotten",
        "store/migrations/versions/0010_conversations.py",
        "using (tenant_id = {TENANT} and updated_at < now() - interval '1 day')",
        "using (tenant_id = {TENANT})",
        f"{CHATS}test_the_database_forgets_no_chat_of_today",
    ),
    Mutant(
        "one memory of answers for all callers",
        "api/idempotency.py",
        "return Memo(self.principal, self.key",
        "return Memo(UUID(int=0), self.key",
        "tests/api/test_idempotency.py::test_the_same_key_of_another_caller_is_another_key",
    ),
    Mutant(
        "an answer is repeated whatever may be read now",
        "store/idempotency.py",
        'if not _may_read(tx, row["source_ids"]):',
        "if False:",
        f"{AWAY}test_an_answer_is_not_repeated_to_who_may_not_read_its_source_any_more",
    ),
    Mutant(
        "the door hands a document's bytes to who may not search",
        "api/routes/documents.py",
        "async def get_content(principal: MaySearch",
        "async def get_content(principal: MayRead",
        f"{TWICE}test_a_route_declares_the_permission_that_the_table_names",
    ),
    Mutant(
        "the journey hands a document's bytes to who may not search",
        "library/documents.py",
        "Permission.SEARCH)) as tx:\n            kept = await documents.content(tx, document)",
        "Permission.METADATA)) as tx:\n            kept = await documents.content(tx, document)",
        f"{TWICE}test_the_journey_hands_no_bytes_to_who_may_not_search",
    ),
    # What the isolation machine sees by itself
    Mutant(
        "the machine: a bot reads every source",
        "store/sources.py",
        "    rows = await tx.rows(_READABLE, wanted=wanted, bot=wish.bot)",
        "    rows = await tx.rows(_READABLE, wanted=wanted, bot=None)",
        MACHINE,
    ),
    Mutant(
        "the machine: a private source is everybody's",
        "store/sources.py",
        "            owner=source.owner,\n",
        "            owner=None,\n",
        MACHINE,
    ),
    Mutant(
        "the machine: a limited key reads every source",
        "domain/access.py",
        "principal.only_sources,\n        principal.only_bots,",
        "None,\n        principal.only_bots,",
        MACHINE,
    ),
    # People
    Mutant(
        "any role gives any permission",
        "domain/access.py",
        "return principal.role in right.roles",
        "return principal.role is not None",
        f"{PEOPLE}test_a_person_is_what_the_membership_says",
    ),
    Mutant(
        "a token opens a tenant whatever the rows say",
        "tenancy/principals.py",
        "if claims.tenant is not None and claims.tenant not in found.roles:",
        "if claims.tenant is None and found.roles:",
        f"{PEOPLE}test_a_token_of_a_strange_tenant_is_none",
    ),
    Mutant(
        "a token names anybody's session",
        "tenancy/principals.py",
        "if found is None or found.user != claims.user or not found.live:",
        "if found is None or not found.live:",
        f"{PEOPLE}test_a_token_names_a_session_of_its_own_person",
    ),
    Mutant(
        "a key keeps what its maker has lost",
        "tenancy/principals.py",
        "scopes=found.scopes if found.role is None else found.scopes & scopes_of(found.role),",
        "scopes=found.scopes,",
        f"{PEOPLE}test_a_key_does_no_more_than_its_maker_and_ends_with_the_maker",
    ),
    Mutant(
        "a key outlives its maker's membership",
        "store/functions.sql",
        "coalesce(m.status = 'active' and u.status = 'active', false)",
        "coalesce(u.status = 'active', false)",
        f"{PEOPLE}test_a_key_does_no_more_than_its_maker_and_ends_with_the_maker",
    ),
    Mutant(
        "a suspended member comes in",
        "store/functions.sql",
        "left join memberships m on m.user_id = s.user_id and m.status = 'active'",
        "left join memberships m on m.user_id = s.user_id",
        f"{PEOPLE}test_a_key_does_no_more_than_its_maker_and_ends_with_the_maker",
    ),
    Mutant(
        "a session that was ended goes on",
        "store/functions.sql",
        "s.ended_at is null and s.expires_at > now() and u.status",
        "s.expires_at > now() and u.status",
        f"{PEOPLE}test_a_session_ends_with_itself_and_with_its_person",
    ),
    Mutant(
        "another password ends no session",
        "store/functions.sql",
        "u.status = 'active' and s.epoch = u.epoch,",
        "u.status = 'active',",
        f"{PEOPLE}test_a_session_ends_with_itself_and_with_its_person",
    ),
    Mutant(
        "everybody sees everybody's name",
        "store/migrations/versions/0003_people.py",
        'f" where m.tenant_id = {TENANT} and m.user_id = users.id));\\n"',
        'f" where m.user_id = users.id));\\n"',
        FRESH,
    ),
    Mutant(
        "accounts are open to every transaction",
        "store/migrations/versions/0003_people.py",
        "create policy accounts on {table} to {app} using ({ACCOUNTS_ON})",
        "create policy accounts on {table} to {app} using (true)",
        f"{PEOPLE}test_a_member_sees_the_names_of_fellows_and_of_nobody_else",
    ),
    Mutant(
        "a token of any type is an access token",
        "tenancy/tokens.py",
        'if claims["typ"] != _TYPE:',
        'if not claims["typ"]:',
        TOKENS,
    ),
    Mutant(
        "a token may bring a key of its own",
        "tenancy/tokens.py",
        "if key is None or not header.keys() <= _HEADERS:",
        "if key is None:",
        TOKENS,
    ),
    Mutant(
        "a token for somebody else is taken",
        "tenancy/tokens.py",
        '"strict_aud": True',
        '"verify_aud": False',
        TOKENS,
    ),
    Mutant(
        "whoever is in one tenant is in any",
        "domain/access.py",
        "if role is None or not principal.is_person or principal.tenant not in (None, tenant):",
        "if not principal.is_person:",
        f"{GRANTS}test_a_person_becomes_a_member_only_where_a_role_is_held",
    ),
    Mutant(
        "an owner decides on another's tenant",
        "domain/access.py",
        "if not principal.is_operator and principal.tenant != tenant:",
        "if principal.is_operator and principal.tenant != tenant:",
        f"{GRANTS}test_only_an_operator_decides_on_another_tenant",
    ),
)
